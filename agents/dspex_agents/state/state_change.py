"""`apply_state`: the state after directives, as a pure function."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dspex_agents.actions.action import FieldProblem
from dspex_agents.actions.directive import DeleteState, Directive, Path, SetState, path_parts
from dspex_agents.state.state_schema import StateError, StateT, checked_state, plain

_Parts = tuple[str | int, ...]


def apply_state(state: StateT, directives: Iterable[Directive]) -> StateT:
    """Return the state after the SetState and DeleteState of `directives`, in order; others are passed over.

    The state given is not touched. Raises StateError naming every path that leads nowhere and every field that breaks
    the schema.
    """
    changes = [d for d in directives if isinstance(d, SetState | DeleteState)]
    if not changes:
        return state
    fields = plain(state)
    problems: dict[str, FieldProblem] = {}
    written: list[_Parts] = []
    for change in changes:
        try:
            if isinstance(change, SetState):
                written += _set(fields, change, problems)
            else:
                _delete(fields, change.path)
        except _NoPlaceError as error:
            problems[error.problem.path] = error.problem
    try:
        after = checked_state(type(state), fields)
    except StateError as error:
        problems |= {problem.path: problem for problem in error.problems}
    else:
        dropped = _dropped(fields, plain(after), written)
        problems |= {problem.path: problem for problem in dropped}
        if not problems:
            return after
    raise StateError(type(state).__name__, tuple(problems.values()))


class _NoPlaceError(Exception):
    def __init__(self, parts: _Parts, message: str) -> None:
        super().__init__(message)
        self.problem = FieldProblem(".".join(map(str, parts)), message, "no_such_place")


def _set(fields: dict[str, Any], change: SetState, problems: dict[str, FieldProblem]) -> list[_Parts]:
    written = []
    for path, value in change.fields.items():
        parts = path_parts(path)
        try:
            _put(fields, parts, plain(value))
        except _NoPlaceError as error:
            problems[error.problem.path] = error.problem
        else:
            written.append(parts)
    return written


def _put(fields: dict[str, Any], parts: _Parts, value: Any) -> None:
    holder = _at(fields, parts[:-1], parts)
    key = _key(holder, parts[-1])
    if not (isinstance(holder, dict) or _has(holder, key)):
        raise _NoPlaceError(parts, f"the list has {len(holder)} items")
    holder[key] = value


def _delete(fields: dict[str, Any], path: Path) -> None:
    parts = path_parts(path)
    holder = _at(fields, parts[:-1], parts)
    key = _key(holder, parts[-1])
    if not _has(holder, key):
        raise _NoPlaceError(parts, "there is nothing to delete")
    del holder[key]


def _dropped(before: dict[str, Any], after: dict[str, Any], written: list[_Parts]) -> list[FieldProblem]:
    """Return the places written that the schema let fall in silence: fields that a nested model does not know."""
    return [
        FieldProblem(".".join(map(str, parts)), "the schema knows no such field", "unknown_field")
        for parts in written
        if _reaches(before, parts) and not _reaches(after, parts)
    ]


def _reaches(container: Any, parts: _Parts) -> bool:
    try:
        holder = _at(container, parts[:-1], parts)
    except _NoPlaceError:
        return False
    return _has(holder, _key(holder, parts[-1]))


def _at(container: Any, parts: _Parts, whole: _Parts) -> Any:
    """Return the dict or list at `parts`. Raises _NoPlaceError."""
    for depth, part in enumerate(parts):
        key = _key(container, part)
        if not _has(container, key):
            raise _NoPlaceError(whole, f"there is nothing at {'.'.join(map(str, parts[: depth + 1]))!r}")
        container = container[key]
    if not isinstance(container, dict | list):
        raise _NoPlaceError(whole, f"{'.'.join(map(str, parts))!r} has no parts")
    return container


def _has(container: Any, key: Any) -> bool:
    if isinstance(container, list):
        return _is_index(container, key)
    return isinstance(container, dict) and key in container


def _is_index(container: list[Any], key: Any) -> bool:
    return isinstance(key, int) and 0 <= key < len(container)


def _key(container: Any, part: str | int) -> str | int:
    """Return the key that the part means: a number as text may be an index, or a number among a dict's keys."""
    if isinstance(part, str) and part.isdecimal():
        number = int(part)
        if isinstance(container, list) or (
            isinstance(container, dict) and part not in container and number in container
        ):
            return number
    return part
