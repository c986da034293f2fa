"""Conditions as clauses over single variables: what a system without expressions, such as ConfigSpace, can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import Condition, Expression, as_condition
from dspex_coordination.errors import SpaceError
from dspex_coordination.space import Space
from dspex_coordination.space.network import Network
from dspex_coordination.variables import Composite, Int, Variable

LISTED = 1000  # values of a variable that may be listed
ROWS = 5000  # combinations of values that may be looked at for one condition
_MARGIN = 1e-9  # of the axis: <= c is written as < c plus this
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_NEGATED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}


@dataclass(frozen=True, slots=True)
class Among:
    """The value of an active variable is one of a few."""

    name: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Beyond:
    """The value of an active number is strictly above, or below, a bound inside its domain."""

    name: str
    bound: float
    above: bool


@dataclass(frozen=True, slots=True)
class Related:
    """The value of one active number is below, or equal to, that of another."""

    left: str
    right: str
    equal: bool


@dataclass(frozen=True, slots=True)
class Joined:
    """All, or any, of several clauses."""

    every: bool
    parts: tuple[Clause, ...]


Clause = bool | Among | Beyond | Related | Joined


class _NoShapeError(Exception):
    """A condition that has no form in clauses as it is written; its values may still be listed."""


def joined(every: bool, parts: Sequence[Clause]) -> Clause:  # noqa: FBT001 - `all` or `any`
    """Return the conjunction or disjunction: flat, each part once, without parts that do not matter."""
    kept: list[Clause] = []
    for part in parts:
        if isinstance(part, bool):
            if part is not every:
                return not every
            continue
        flat = part.parts if isinstance(part, Joined) and part.every is every else (part,)
        kept += [one for one in flat if one not in kept]
    if not kept:
        return every
    return kept[0] if len(kept) == 1 else Joined(every, tuple(kept))


def clause_of(space: Space, condition: Condition, *, truth: bool) -> Clause:
    """Return the clause that is met exactly where `condition` is `truth`, and not where that is neither.

    Raises SpaceError if it is neither made of comparisons nor depends on few enough values to list them.
    """
    try:
        return _shaped(space, condition, truth=truth)
    except _NoShapeError:
        return _tabulated(space, condition, truth=truth)


def listed(variable: Variable[Any]) -> tuple[Any, ...] | None:
    """Return every value that is drawn if there are at most `LISTED`, else None."""
    if variable.kind == "text" and variable.cardinality is None:
        return (variable.default,)
    count = variable.cardinality
    return None if count is None or count > LISTED else tuple(variable.grid(count))


def _shaped(space: Space, condition: Expression, *, truth: bool) -> Clause:
    if condition.op == "not":
        return clause_of(space, as_condition(condition.args[0]), truth=not truth)
    if condition.op in ("and", "or"):
        parts = [clause_of(space, as_condition(part), truth=truth) for part in condition.args]
        return joined((condition.op == "and") is truth, parts)
    if condition.op not in (*_FLIPPED, "in"):
        raise _NoShapeError
    left, right = condition.args
    if left.op == right.op == "var" and condition.op != "in":
        return _relation(space, condition.op if truth else _NEGATED[condition.op], left.args[0], right.args[0])
    if left.op == "var" and right.op == "literal":
        return _comparison(space, condition, left.args[0], truth=truth)
    if left.op == "literal" and right.op == "var" and condition.op != "in":
        turned = Condition(_FLIPPED[condition.op], (right, left))
        return _comparison(space, turned, right.args[0], truth=truth)
    raise _NoShapeError


def _comparison(space: Space, condition: Expression, name: str, *, truth: bool) -> Clause:
    """Compare a variable with a literal."""
    variable: Any = space.variables[name]
    if variable.scale in ("computed", "structured"):
        raise _NoShapeError
    values = listed(variable)
    if values is not None:
        kept = tuple(value for value in values if condition.value({name: value}) is truth)
        return Among(name, kept) if kept else False
    bound = condition.args[1].args[0]
    if condition.op == "in" or isinstance(bound, bool) or not isinstance(bound, int | float):
        raise _NoShapeError
    op = condition.op if truth else _NEGATED[condition.op]
    if op == "==":
        if isinstance(variable, Int):
            return Among(name, (int(bound),)) if variable.low <= bound <= variable.high and bound % 1 == 0 else False
        raise _NoShapeError
    if op == "!=":
        return joined(every=False, parts=[_beyond(variable, "<", bound), _beyond(variable, ">", bound)])
    return _beyond(variable, op, bound)


def _beyond(variable: Any, op: str, bound: float) -> Clause:
    name, low, high = variable.label, variable.low, variable.high
    above = op.startswith(">")
    if isinstance(variable, Int):
        bound = (math.floor(bound) if op in (">", "<=") else math.ceil(bound)) + {"<=": 1, ">=": -1}.get(op, 0)
    else:
        bound += {"<=": 1, ">=": -1}.get(op, 0) * _MARGIN * (high - low)
    if bound < low if above else bound > high:  # met by every value
        everything = joined(every=False, parts=[Beyond(name, high, above=False), Beyond(name, low, above=True)])
        return True if variable.when is None else everything
    if bound >= high if above else bound <= low:
        return False
    return Beyond(name, bound, above)


def _relation(space: Space, op: str, left: str, right: str) -> Clause:
    variables: list[Any] = [space.variables[name] for name in (left, right)]
    if any(variable.kind not in ("float", "int") for variable in variables):
        raise _NoShapeError
    below, over = Related(left, right, equal=False), Related(right, left, equal=False)
    same = Related(left, right, equal=True)
    parts = {"<": [below], "<=": [below, same], ">": [over], ">=": [over, same], "==": [same], "!=": [below, over]}[op]
    return joined(every=False, parts=parts)


def failure_of(space: Space, name: str) -> Clause:
    """Return the clause that is met exactly where a computed variable has no valid value.

    Raises SpaceError if it depends on too many values to list them.
    """
    variable = space.variables[name]
    network = Network(space.variables, space.constraints)
    rows = _rows(space, network, [other for other in _ancestry(space, [name]) if other != name], variable.label)
    return _alternatives([row.chosen for row in rows if not network.settled(name, row.held, row.seen)])


@dataclass(slots=True)
class _Row:
    held: dict[str, Any]
    seen: dict[str, Any]
    chosen: tuple[tuple[str, Any], ...]

    def grown(self, name: str, held: Any, seen: Any, *, chosen: bool = False) -> _Row:
        choice = ((name, held),) if chosen else ()
        return _Row({**self.held, name: held}, {**self.seen, name: seen}, self.chosen + choice)


def _tabulated(space: Space, condition: Condition, *, truth: bool) -> Clause:
    """List the values of all that the condition depends on, as far as they are active."""
    network = Network(space.variables, space.constraints)
    rows = _rows(
        space, network, _ancestry(space, condition.names), f"{condition} is no comparison of variables, and it"
    )
    return _alternatives([row.chosen for row in rows if condition.value(row.seen) is truth])


def _rows(space: Space, network: Network, names: Sequence[str], about: str) -> list[_Row]:
    """Return the combinations of values of variables, given with dependencies first, in which all are valid."""
    rows = [_Row({}, {}, ())]
    for name in names:
        variable = space.variables[name]
        grown: list[_Row] = []
        for row in rows:
            if isinstance(variable, Composite) or not network.active(name, row.seen):
                grown += [row.grown(name, held, seen) for held, seen in network.settled(name, row.held, row.seen)]
                continue
            values = listed(variable)
            if values is None:
                raise SpaceError(f"{about} depends on {name}, which has too many values to list them.")
            grown += [row.grown(name, value, value, chosen=True) for value in values]
        rows = grown
        if len(rows) > ROWS:
            raise SpaceError(f"{about} depends on more than {ROWS} combinations of values.")
    return rows


def _alternatives(met: Sequence[tuple[tuple[str, Any], ...]]) -> Clause:
    """Return the clause that is met by any of these combinations; those that differ in the last value are one part."""
    if () in met:
        return True  # nothing is chosen: it is so everywhere
    last: dict[tuple[tuple[tuple[str, str], ...], str], tuple[list[Clause], list[Any]]] = {}
    for *ahead, (name, value) in met:
        key = (tuple((one, canonical_json(held)) for one, held in ahead), name)
        last.setdefault(key, ([Among(one, (held,)) for one, held in ahead], []))[1].append(value)
    parts = [joined(every=True, parts=[*ahead, Among(key[1], tuple(held))]) for key, (ahead, held) in last.items()]
    return joined(every=False, parts=parts)


def _ancestry(space: Space, names: Sequence[str]) -> list[str]:
    """Return the names with all that they depend on, dependencies first."""
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        variable = space.variables[name]
        waiting += () if variable.when is None else variable.when.names
        waiting += variable.dependencies if isinstance(variable, Composite) else ()
    return [name for name in space.order if name in needed]
