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


def listed(network: Network, limit: int) -> Iterator[Values]:
    """Yield the distinct feasible values made of up to `limit` grid values (and the default) of each variable.

    If constraints leave less than `limit` of them, finer grids follow until there are as many, or no finer one.
    """
    grid, told = limit, 0
    for held in _combined(network, grid):
        told += 1
        yield held
    if told >= limit or not _coarse(network, grid):
        return
    keys = {canonical_json(held) for held in _combined(network, grid)}
    while len(keys) < limit and grid < MAX_GRID and _coarse(network, grid):
        grid = min(grid * 4, MAX_GRID)
        for held in _combined(network, grid):
            key = canonical_json(held)
            if key not in keys:
                keys.add(key)
                yield held
                if len(keys) >= limit:
                    return


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
    if max(known) > MAX_GRID or (not component.rules and max(known) > limit):
        return None
    listing = Listing(network, component, MAX_GRID)
    found = sum(1 for _ in islice(listing, limit + 1))
    return found if found <= limit and listing.finished else None


def _coarse(network: Network, grid: int) -> bool:
    """Whether a variable that rules have a say in has values between those of its grid."""
    bound = (network.variables[name] for component in network.components if component.rules for name in component.names)
    return any(variable.cardinality is None or variable.cardinality > grid for variable in bound)


def _combined(network: Network, grid: int, position: int = 0) -> Iterator[Values]:
    """Yield the combinations of what is feasible in each part from `position` on."""
    if position == len(network.components):
        yield {}
        return
    for first in Listing(network, network.components[position], grid):
        for rest in _combined(network, grid, position + 1):
            yield first | rest


class Listing:
    """The feasible values of a part, by depth-first search; it ends early after `MAX_STEPS` without any.

    `steps` bounds how many values are tried in all.
    """

    def __init__(self, network: Network, component: Component, grid: int, steps: float = math.inf) -> None:
        self._network, self._component, self._steps = network, component, steps
        self._grids = {name: self._grid(name, grid) for name in component.names if name not in network.computed}
        self._idle = 0
        self.finished = False

    def _grid(self, name: str, grid: int) -> Sequence[Any]:
        variable = self._network.variables[name]
        values = variable.grid(grid)
        return values if not self._component.rules or variable.default in values else [*values, variable.default]

    def __iter__(self) -> Iterator[Values]:
        return (held for held, _ in self.rows())

    def rows(self) -> Iterator[tuple[Values, Values]]:
        """Yield what is held and what is seen of the variables."""
        names, held, seen = self._component.names, Values(), Values()
        levels: list[Iterator[tuple[Any, Any]]] = []
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
        values = self._grids[name]
        if self._component.rules:
            values = within(variable, values, window(network, name, self._component.touching(name), seen))
        return iter([(value, value) for value in values])
