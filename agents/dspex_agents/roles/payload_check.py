"""Whether a payload can be worked on at all: every problem at once, before the work begins."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from dspex_agents.errors import AgentSystemError, SpecError

Level = Literal["syntax", "semantics", "business", "external"]
_LEVELS = get_args(Level)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a payload.

    Its level: `syntax` (shape), `semantics` (meaning), `business` (the owner's rules) or `external` (what another
    service says). `path` names the place, as in "rows.3.text".
    """

    level: Level
    message: str
    path: str = ""

    def __post_init__(self) -> None:
        if self.level not in _LEVELS:
            raise SpecError(f"problem.level must be one of {', '.join(map(repr, _LEVELS))}, got {self.level!r}.")

    def __str__(self) -> str:
        return f"{self.level}: {self.path}: {self.message}" if self.path else f"{self.level}: {self.message}"


Found: TypeAlias = Iterable[Problem | str]
Validate: TypeAlias = Callable[[Any], Found | Awaitable[Found]]


class InvalidPayloadError(AgentSystemError):
    """The payload cannot be worked on; `problems` has all that is wrong. No work was begun.

    The asker's mistake and not the agent's failure: it is never retried and opens no breaker.
    """

    retryable = False
    counts_as_failure = False

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return f"The payload has {len(self.problems)} problem(s): {'; '.join(map(str, self.problems))}"


def validation_of(worker: object) -> Validate | None:
    """Return the worker's `validate(payload)`, or None. It may be a coroutine function; it must not block.

    It returns what is wrong, a `Problem` each (or its text: then of level `semantics`), empty where all is well.
    Raises SpecError when the worker's attribute of that name cannot be called.
    """
    validate: Validate | None = getattr(worker, "validate", None)
    if validate is not None and not callable(validate):
        raise SpecError(f"{type(worker).__name__}.validate must be a method, got {validate!r}.")
    return validate


async def problems_of(validate: Validate | None, payload: Any) -> tuple[Problem, ...]:
    """Return everything wrong with the payload, level by level. Raises what `validate` raises, or SpecError."""
    if validate is None:
        return ()
    answer = validate(payload)
    found = await answer if inspect.isawaitable(answer) else answer
    if isinstance(found, str) or not isinstance(found, Iterable):
        raise SpecError(f"A worker's validate must return a collection of problems, got {found!r}.")
    problems = [Problem("semantics", item) if isinstance(item, str) else item for item in found]
    for item in problems:
        if not isinstance(item, Problem):
            raise SpecError(f"A worker's validate must return Problem or str items, got {item!r}.")
    return tuple(sorted(problems, key=lambda problem: _LEVELS.index(problem.level)))
