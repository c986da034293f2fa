"""Every feasible candidate of a network, each once, and how many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.space.bounds import refuted, window
from dspex_coordination.space.component import Component, Values
from dspex_coordination.space.network import Network
from dspex_coordination.space.trials import within

MAX_GRID = 2**16  # values of one variable that are listed at most
MAX_STEPS = 200_000  # values tried in a row without a feasible one
FINEST = 4_096  # values of one variable in the finest of the grids that follow a coarse one
DENSE = 512  # likewise of one with infinitely many values
FINER = 4  # times as many values in each finer grid


def listed(network: Network, limit: int) -> Iterator[Values]:
    """Yield the distinct feasible values made of up to `limit` grid values (and the default) of each variable.

    If constraints leave less than `limit` of them, finer grids follow until there are as many, or up to `FINEST`.
    """
    keys: set[str] = set()
    grid = limit
    while True:
        dense = min(grid, max(limit, DENSE))
        parts = [Listing(network, part, grid, dense=dense) for part in network.components]
        for held in _combined(parts):
            key = canonical_json(held)
            if grid == limit or key not in keys:
                yield held
                if len(keys) < limit:
                    keys.add(key)
                elif grid > limit:
                    return
        if len(keys) >= limit or grid >= FINEST or not any(part.coarse for part in parts):
            return
        grid = min(grid * FINER, FINEST)


def counted(network: Network, limit: int) -> int | None:
    """Return how many distinct feasible values there are; None if more than `limit` or too long to find."""
    total = 1
    for component in sorted(network.components, key=lambda component: len(component.names)):
        number = _size(network, component, limit)
        if number is None or total * number > limit:
            return None
        total *= number
    return total


def _size(network: Network, component: Component, limit: int) -> int | None:
    counts = [network.variables[name].cardinality for name in component.names]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return None
    if len(component.names) == 1 and not component.rules:
        return known[0]
    # each value of a variable that is always active is in some candidate; one with a condition may never be active
    always = [
        network.variables[name].cardinality or 0 for name in component.names if network.variables[name].when is None
    ]
    if max(known) > MAX_GRID or (not component.rules and max(always, default=0) > limit):
        return None
    listing = Listing(network, component, MAX_GRID)
    found = sum(1 for _ in islice(listing.rows(), limit + 1))
    return found if found <= limit and listing.finished else None


def _combined(parts: Sequence[Listing]) -> Iterator[Values]:
    """Yield the combinations of what is feasible in each part; those of the last part change fastest."""
    if not parts:
        yield {}
        return
    chosen: list[Values] = []
    levels = [parts[0].rows()]
    while levels:
        del chosen[len(levels) - 1 :]
        row = next(levels[-1], None)
        if row is None:
            levels.pop()
            continue
        chosen.append(row[0])
        if len(levels) < len(parts):
            levels.append(parts[len(levels)].rows())
        else:
            yield {name: value for values in chosen for name, value in values.items()}


class Listing:
    """The feasible values of a part, by depth-first search; it ends early after `MAX_STEPS` without any.

    `grid` and `dense` are how many values a variable has at most: one with finitely many, and one with infinitely many.
    `steps` bounds how many values are tried in all.
    """

    def __init__(
        self, network: Network, component: Component, grid: int, *, dense: int = DENSE, steps: float = math.inf
    ) -> None:
        self._network, self._component, self._steps = network, component, steps
        self._grid, self._dense = grid, dense
        self._grids: dict[str, Sequence[Any]] = {}
        self._idle = 0
        self.finished = False
        self.coarse = False  # whether rules had a say in a variable that has values between those of its grid

    def rows(self) -> Iterator[tuple[Values, Values]]:
        """Yield what is held and what is seen of the variables."""
        names, held, seen = self._component.names, Values(), Values()
        levels: list[Iterator[tuple[Any, Any]]] = []
        self._idle = 0
        while self._idle <= MAX_STEPS and self._steps > 0:
            if len(held) == len(names):
                self._idle = 0
                yield dict(held), dict(seen)
            else:
                levels.append(self._values(names[len(held)], held, seen))
            while levels and not self._advanced(levels[-1], len(levels) - 1, held, seen):
                levels.pop()
            if not levels:
                self.finished = True
                return

    def _advanced(self, level: Iterator[tuple[Any, Any]], position: int, held: Values, seen: Values) -> bool:
        """Put the next value that breaks no rule at `position`, nothing behind it; False if there is none."""
        name = self._component.names[position]
        for later in self._component.names[position + 1 : len(held)]:
            del held[later], seen[later]
        for value, visible in level:
            self._idle += 1
            self._steps -= 1
            held[name], seen[name] = value, visible
            if any(rule.broken(seen, held) for rule in self._component.ready[position]):
                continue
            waiting = self._component.waiting[position]
            if not waiting or refuted(self._network, waiting, seen) is None:
                return True
        held.pop(name, None)
        seen.pop(name, None)
        return False

    def _values(self, name: str, held: Values, seen: Values) -> Iterator[tuple[Any, Any]]:
        network, variable = self._network, self._network.variables[name]
        if name in network.computed or not network.active(name, seen):
            return iter(network.settled(name, held, seen))
        known = variable.cardinality
        size = self._grid if known is not None else self._dense
        if name not in self._grids:
            self._grids[name] = variable.grid(size)
        values = self._grids[name]
        if self._component.rules:
            if known is None or known > size:
                self.coarse = self.coarse or known is not None or size < DENSE
                values = values if variable.default in values else [*values, variable.default]
            values = within(variable, values, window(network, name, self._component.touching(name), seen))
        return iter([(value, value) for value in values])
