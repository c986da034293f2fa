"""`Constraint`: what must hold between the values of several variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import Condition, as_condition, count
from dspex_coordination.errors import SpaceError, VariableError
from dspex_coordination.variables.importable import Importable

Check = Callable[[Mapping[str, Any]], "bool | str"]
"""A function of all values: True if they are fine, else False or a sentence that says what is wrong."""


class Constraint:
    """A condition that every candidate must keep, or a function of all values that says whether it does.

    A condition that depends on an inactive variable is kept. A function gets the values of `names` (None: of all
    variables; the default of an inactive one) and must depend on them alone; JSON has it as `module:qualname`, where it
    must be found. `message` says what is wrong where the constraint is broken and `fix` how to mend it.
    Raises SpaceError for what is neither condition nor such a function.
    """

    __slots__ = ("condition", "fix", "function", "message", "names")

    condition: Condition | None
    function: Check | None
    names: tuple[str, ...] | None
    message: str | None
    fix: str | None

    def __init__(
        self,
        rule: Any,
        message: str | None = None,
        fix: str | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        condition, function = (None, rule) if _is_function(rule) else (as_condition(rule), None)
        if condition is not None and names is not None:
            raise SpaceError(f"A condition names its variables itself; leave names={names!r} out of {condition}.")
        if function is not None:
            _path(function)  # raises for one that JSON could not name
        given = None if names is None else tuple(names)
        for slot, value in (
            ("condition", condition),
            ("function", function),
            ("names", given if condition is None else condition.names),
            ("message", _text(message, "message")),
            ("fix", _text(fix, "fix")),
        ):
            object.__setattr__(self, slot, value)

    def under(self, prefix: str) -> Constraint:
        """Return this constraint on variables whose names have `prefix` before them.

        Raises SpaceError for a function, which knows its variables by their own names.
        """
        if self.condition is None:
            raise SpaceError(f"The constraint {self} is a function; under {prefix!r} only conditions can stand.")
        return Constraint(self.condition.renamed(lambda name: f"{prefix}{name}"), self.message, self.fix)

    def to_json(self) -> dict[str, Any]:
        """Return the condition as JSON or the function as `module:qualname`, and what else was given."""
        data: dict[str, Any] = {}
        if self.condition is not None:
            data["condition"] = self.condition.to_json()
        else:
            data["function"] = _path(self.function)
            if self.names is not None:
                data["names"] = list(self.names)
        return {**data, **{key: text for key, text in (("message", self.message), ("fix", self.fix)) if text}}

    def meaning(self) -> dict[str, Any]:
        """Return the JSON of what must hold, without message and fix."""
        return {key: value for key, value in self.to_json().items() if key not in ("message", "fix")}

    @staticmethod
    def from_json(data: Any) -> Constraint:
        """Rebuild from `to_json`. Raises SpaceError for other JSON or a function that cannot be found."""
        known = {"condition", "function", "names", "message", "fix"}
        if not isinstance(data, Mapping) or set(data) - known or len({"condition", "function"} & set(data)) != 1:
            raise SpaceError(
                f"A constraint's JSON has 'condition' or 'function', and maybe 'message' and 'fix', got {data!r}."
            )
        rule = as_condition(data["condition"]) if "condition" in data else _found(data["function"])
        return Constraint(rule, data.get("message"), data.get("fix"), names=data.get("names"))

    def __setattr__(self, attribute: str, value: Any) -> None:
        raise AttributeError(f"A constraint is frozen; {attribute!r} cannot be set.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constraint) and canonical_json(self.to_json()) == canonical_json(other.to_json())

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_json()))

    def __str__(self) -> str:
        return str(self.condition) if self.condition is not None else _path(self.function)

    def __repr__(self) -> str:
        return f"Constraint({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[[Any], Constraint], tuple[dict[str, Any]]]:
        """Pickle by JSON."""
        return Constraint.from_json, (self.to_json(),)


def at_most_one(*conditions: Any, message: str | None = None, fix: str | None = None) -> Constraint:
    """Return the constraint that no two of the conditions hold together."""
    return Constraint(count(*conditions) <= 1, message, fix)


def exactly_one(*conditions: Any, message: str | None = None, fix: str | None = None) -> Constraint:
    """Return the constraint that one of the conditions holds and no other."""
    return Constraint(count(*conditions) == 1, message, fix)


def as_constraint(value: Any) -> Constraint:
    """Return a constraint as it is, and a condition or function as a constraint. Raises SpaceError for all else."""
    return value if isinstance(value, Constraint) else Constraint(value)


def _is_function(rule: Any) -> bool:
    return callable(rule) and not hasattr(rule, "expression")


def _text(value: Any, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise SpaceError(f"A constraint's {what} is a text, got {value!r}.")
    return value or None


def _path(function: Any) -> str:
    """Return where a function is found. Raises SpaceError if it cannot be found by a name."""
    try:
        return Importable.of(function, "A constraint").to_json("A constraint")
    except VariableError as error:
        raise SpaceError(f"{error} A condition such as V('a') <= V('b') would do as well.") from error


def _found(path: Any) -> Any:
    try:
        return Importable.of(path, "A constraint's function").resolved("A constraint's function")
    except VariableError as error:
        raise SpaceError(str(error)) from error
