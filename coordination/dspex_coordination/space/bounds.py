"""What rules leave a number: interval arithmetic on conditions.

A variable that has no value yet may be anywhere between its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dspex_coordination.conditions import ABSENT, Expression
from dspex_coordination.conditions.operators import ROUNDING
from dspex_coordination.errors import SpaceError
from dspex_coordination.space.component import Rule
from dspex_coordination.space.network import Network
from dspex_coordination.space.trials import EVERYWHERE, Limits
from dspex_coordination.variables import Choice, Float, Int

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


def window(network: Network, name: str, rules: Iterable[Rule], known: Mapping[str, Any]) -> Limits:
    """Return bounds outside which no value of a number keeps all the rules; a value inside may still break one."""
    if not isinstance(network.variables[name], Float | Int):
        return EVERYWHERE
    low, high = EVERYWHERE
    for rule in rules:
        if rule.constraint.condition is not None:
            found = Bounds(network, known, name).of(rule.constraint.condition)
            low, high = max(low, found[0]), min(high, found[1])
    return low, high


def refuted(network: Network, rules: Iterable[Rule], known: Mapping[str, Any]) -> Rule | None:
    """Return a rule that is broken whatever the variables without a known value will be; None if none surely is."""
    bounds = Bounds(network, known)
    for rule in rules:
        if rule.constraint.condition is not None and not bounds.outcomes(rule.constraint.condition)[0]:
            return rule
    return None


class Bounds:
    """What is sure of conditions and numbers when only some values are known, `ABSENT` for inactive variables.

    `name` is the variable whose bounds are asked for, if any.
    """

    def __init__(self, network: Network, known: Mapping[str, Any], name: str = "") -> None:
        self._network, self._name, self._seen = network, name, known

    def outcomes(self, condition: Expression) -> tuple[bool, bool]:
        """Return whether a condition may still come out true, and whether false; one that is neither may do both."""
        if self._seen.keys() >= set(condition.names):
            try:
                value = condition.value(self._seen)
            except SpaceError:  # a part that another part guards; the whole is computed when all values are known
                return True, True
            return value is not False, value is not True
        if condition.op in ("and", "or", "not"):
            parts = [self.outcomes(part) for part in condition.args]
            true, false = [part[0] for part in parts], [part[1] for part in parts]
            if condition.op == "not":
                return false[0], true[0]
            return (all(true), any(false)) if condition.op == "and" else (any(true), all(false))
        if condition.op not in _MIRRORED:
            return True, True
        left, right = (self._interval(side) for side in condition.args)
        return (True, True) if left is None or right is None else _compared(condition.op, left, right)

    def of(self, condition: Expression) -> Limits:
        """Return the bounds that the truth of `condition` leaves the variable."""
        if condition.op == "and":
            found = [self.of(part) for part in condition.args]
            return max(low for low, _ in found), min(high for _, high in found)
        if condition.op == "or":
            open_parts = [part for part in condition.args if self.outcomes(part)[0]]
            return self.of(open_parts[0]) if len(open_parts) == 1 else EVERYWHERE
        if condition.op not in _MIRRORED:
            return EVERYWHERE
        left, right = condition.args
        inside = [self._name in side.names for side in (left, right)]
        if all(inside) or not any(inside):
            return EVERYWHERE
        op, moving, still = (condition.op, left, right) if inside[0] else (_MIRRORED[condition.op], right, left)
        bounds = self._interval(still)
        if bounds is None:
            return EVERYWHERE
        low = bounds[0] if op in ("==", ">", ">=") else -math.inf
        high = bounds[1] if op in ("==", "<", "<=") else math.inf
        return self._isolated(moving, (low, high))

    def _isolated(self, moving: Expression, target: Limits) -> Limits:
        """Return the bounds of the variable that keep `moving`, which contains it once, within `target`."""
        while moving.op != "var":
            inner = [part for part in moving.args if self._name in part.names]
            if len(inner) != 1 or moving.op not in _INVERSES:
                return EVERYWHERE
            others = [self._interval(part) for part in moving.args if part is not inner[0]]
            known = [bounds for bounds in others if bounds is not None]
            if len(known) < len(others):
                return EVERYWHERE
            target = _cleaned(_INVERSES[moving.op](target, known, inner[0] is moving.args[0]))
            moving = inner[0]
        return target

    def _interval(self, node: Expression) -> Limits | None:
        """Return bounds of a number; None if it is none, or not bounded in a known way."""
        if node.op == "literal":
            return _point(node.args[0])
        if node.op == "var":
            return self._of_variable(node.args[0])
        if node.op == "count":
            outcomes = [self.outcomes(part) for part in node.args]
            return sum(not false for _, false in outcomes), sum(true for true, _ in outcomes)
        if node.op not in _FORWARD:
            return None
        parts = [self._interval(part) for part in node.args]
        known = [bounds for bounds in parts if bounds is not None]
        return _cleaned(_FORWARD[node.op](known)) if len(known) == len(parts) else None

    def _of_variable(self, name: str) -> Limits | None:
        if name in self._seen:
            return None if self._seen[name] is ABSENT else _point(self._seen[name])
        variable = self._network.variables[name]
        if name in self._network.when:
            return None
        if isinstance(variable, Float | Int):
            return variable.low, variable.high
        if isinstance(variable, Choice):
            points = [point for option in variable.options if (point := _point(option)) is not None]
            return (min(points)[0], max(points)[1]) if len(points) == len(variable.options) else None
        formula = self._network.formula(name)
        return None if formula is None else self._interval(formula)


def _compared(op: str, left: Limits, right: Limits) -> tuple[bool, bool]:
    """Return whether a comparison of two numbers within bounds may come out true, and whether false."""
    lowest, highest = left[0] - right[1], left[1] - right[0]
    slack = ROUNDING * max(1.0, *(abs(end) for end in (*left, *right) if math.isfinite(end)))
    below, above = lowest <= slack, highest >= -slack  # whether left may be up to right, and down to it
    if op == "==":
        return below and above, lowest < 0 or highest > 0
    return (above, below) if op in (">", ">=") else (below, above)


def _point(value: Any) -> Limits | None:
    return (value, value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _cleaned(bounds: Limits) -> Limits:
    low, high = bounds
    return -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high


def _sum(parts: list[Limits]) -> Limits:
    return sum(low for low, _ in parts), sum(high for _, high in parts)


def _products(first: Limits, second: Limits) -> Limits:
    ends = [a * b for a in first for b in second]
    return (-math.inf, math.inf) if any(math.isnan(end) for end in ends) else (min(ends), max(ends))


def _quotients(first: Limits, second: Limits) -> Limits:
    if second[0] <= 0 <= second[1]:
        return EVERYWHERE
    return _products(first, (1 / second[1], 1 / second[0]))


def _without(target: Limits, others: list[Limits], *_: bool) -> Limits:
    low, high = _sum(others)
    return target[0] - high, target[1] - low


def _unsubtracted(target: Limits, others: list[Limits], first: bool) -> Limits:  # noqa: FBT001 - one signature for all inverses
    (low, high) = others[0]
    return (target[0] + low, target[1] + high) if first else (low - target[1], high - target[0])


def _unmultiplied(target: Limits, others: list[Limits], *_: bool) -> Limits:
    return _quotients(target, others[0])


def _undivided(target: Limits, others: list[Limits], first: bool) -> Limits:  # noqa: FBT001 - likewise
    return _products(target, others[0]) if first and not others[0][0] <= 0 <= others[0][1] else EVERYWHERE


_FORWARD: dict[str, Callable[[list[Limits]], Limits]] = {
    "+": _sum,
    "total": _sum,
    "-": lambda parts: (parts[0][0] - parts[1][1], parts[0][1] - parts[1][0]),
    "*": lambda parts: _products(*parts),
    "/": lambda parts: _quotients(*parts),
    "min": lambda parts: (min(low for low, _ in parts), min(high for _, high in parts)),
    "max": lambda parts: (max(low for low, _ in parts), max(high for _, high in parts)),
}
_INVERSES: dict[str, Callable[[Limits, list[Limits], bool], Limits]] = {
    "+": _without,
    "total": _without,
    "-": _unsubtracted,
    "*": _unmultiplied,
    "/": _undivided,
    "min": lambda target, *_: (target[0], math.inf),
    "max": lambda target, *_: (-math.inf, target[1]),
}
