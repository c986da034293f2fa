"""`Links`: the arguments by which a variable depends on the values of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from dspex_coordination.conditions import Condition, Term, as_conditions
from dspex_coordination.errors import SpaceError, VariableError

ConditionLike = Condition | Term | Mapping[str, Any]
"""A condition, a variable that is true or false, or `{"model": ["a", "b"]}` (equality or membership, all together)."""


class Links(TypedDict, total=False):
    """What any variable takes beside its own arguments.

    | argument    | meaning                                                                             |
    |-------------|-------------------------------------------------------------------------------------|
    | `when`      | the variable is active only where this holds; elsewhere it has its default          |
    | `requires`  | one or more conditions that must hold while it is active and not at its default     |
    | `conflicts` | one or more conditions that must not hold while it is active and not at its default |
    """

    when: ConditionLike | None
    requires: ConditionLike | Sequence[ConditionLike]
    conflicts: ConditionLike | Sequence[ConditionLike]


def linked(given: Any, label: str, argument: str) -> tuple[Condition, ...]:
    """Return the conditions of one argument. Raises VariableError for what is no condition."""
    try:
        return as_conditions(given)
    except SpaceError as error:
        raise VariableError(f"{label}: {argument}: {error}") from error
