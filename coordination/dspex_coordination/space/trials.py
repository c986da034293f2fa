"""The values of one variable that a search tries: first as drawn, then all the others if they are not too many."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions.operators import ROUNDING
from dspex_coordination.variables import Float, Int, Variable

LISTED = 4_096  # values of a finite variable that are all tried
DRAWS = 24

Limits = tuple[float, float]
EVERYWHERE: Limits = (-math.inf, math.inf)


def trial_values(variable: Variable[Any], limits: Limits, rng: random.Random) -> tuple[Iterator[Any], bool]:
    """Return distinct values within `limits`, likely ones first, and whether these are all there are."""
    found = inside(variable, limits)
    if found is None:
        return iter(()), True
    low, high = found
    known = variable.cardinality
    complete = known is not None and known <= LISTED
    if limits == EVERYWHERE or not isinstance(variable, Float | Int):
        draws: Iterable[Any] = (variable.sample(rng) for _ in range(DRAWS))
        ends: tuple[Any, ...] = ()
    else:
        draws = (_between(variable, low, high, rng) for _ in range(DRAWS))
        ends = (variable.validate(low), variable.validate(high))
    rest = _shuffled(variable, (low, high), rng) if complete else ()
    return _distinct(itertools.chain(draws, ends, rest)), complete or low == high


def inside(variable: Variable[Any], limits: Limits) -> Limits | None:
    """Return the lowest and the highest value of a number within `limits`, None if it has none there."""
    if not isinstance(variable, Float | Int):
        return EVERYWHERE
    low, high = max(limits[0], variable.low), min(limits[1], variable.high)
    quantum = variable.step if isinstance(variable, Int) else variable.step or variable.precision
    if quantum:
        first = math.ceil((low - variable.low) / quantum - ROUNDING)
        last = math.floor((high - variable.low) / quantum + ROUNDING)
        low, high = variable.low + first * quantum, min(variable.low + last * quantum, variable.high)
        return (low, high) if first <= last else None
    if low <= high:
        return low, high
    return (high, high) if math.isclose(low, high, rel_tol=ROUNDING) else None


def within(variable: Variable[Any], values: Sequence[Any], limits: Limits) -> Sequence[Any]:
    """Return those of the values that are within `limits`; all of them if they are no numbers."""
    if limits == EVERYWHERE or not isinstance(variable, Float | Int):
        return values
    found = inside(variable, limits)
    if found is None:
        return []
    slack = ROUNDING * max(1.0, *(abs(end) for end in found if math.isfinite(end)))
    return [value for value in values if found[0] - slack <= value <= found[1] + slack]


def _between(variable: Float | Int, low: float, high: float, rng: random.Random) -> Any:
    first, last = variable.unit(variable.validate(low)), variable.unit(variable.validate(high))  # type: ignore[arg-type] # validated by the same variable
    return variable.at(first + (last - first) * rng.random())


def _shuffled(variable: Variable[Any], found: Limits, rng: random.Random) -> Iterator[Any]:
    values = variable.grid(LISTED)  # made only when the draws before it are used up
    kept = within(variable, values, found)
    yield from rng.sample(kept, len(kept))


def _distinct(values: Iterable[Any]) -> Iterator[Any]:
    tried = set()
    for value in values:
        key = canonical_json(value)
        if key not in tried:
            tried.add(key)
            yield value
