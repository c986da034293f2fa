"""`Drawing`: feasible values of a part of a space, distributed as declared as far as that can be had."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import ABSENT
from dspex_coordination.space.component import Component, Values, component
from dspex_coordination.space.listing import MAX_GRID, Listing
from dspex_coordination.space.network import Network
from dspex_coordination.space.order import dependency_order
from dspex_coordination.space.search import Search
from dspex_coordination.variables import Variable

ATTEMPTS = 64  # draws of a whole part before another way is taken
LIKELY = 8  # feasible ones of so many test draws, for which rejecting the others is quicker than a table
SELDOM = 2  # likewise, quicker and truer than a search
TABLED = 2_048  # feasible values of a part that are kept in a table
TABLE_STEPS = 20_000  # values tried to fill it


class Drawing:
    """Draws feasible values of one part, in the first of these ways that works.

    1. All variables are drawn as declared until the rules hold. The result has the declared distribution, given the
       rules. Not tried where too few draws are feasible.
    2. One of all feasible values is drawn, where there are few, with the same distribution.
    3. A search builds them in a random order of variables, each drawn as declared within what the rules leave it.
    4. Each variable of the default, which is feasible, is drawn again while the others stay (Gibbs sampling).

    Which way is taken depends on the space alone, so that equal seeds give equal draws.
    """

    def __init__(self, network: Network, part: Component) -> None:
        self._network, self._part = network, part

    def draw(self, rng: random.Random) -> Values:
        """Return feasible values of the variables of this part."""
        if self._accepting < LIKELY and self._table is not None:
            values, weights = self._table
            return dict(values[rng.choices(range(len(values)), cum_weights=weights)[0]])
        found = self._accepted(rng) if self._accepting >= SELDOM else None
        return found or self._built(rng) or self._wandered(rng)

    @cached_property
    def _accepting(self) -> int:
        rng = random.Random(0)  # noqa: S311 - a test that comes out the same in every process
        return sum(self._attempt(rng) is not None for _ in range(ATTEMPTS))

    def _accepted(self, rng: random.Random) -> Values | None:
        attempts = (self._attempt(rng) for _ in range(ATTEMPTS))
        return next((values for values in attempts if values is not None), None)

    def _attempt(self, rng: random.Random) -> Values | None:
        network, part = self._network, self._part
        held: Values = {}
        seen: Values = {}
        for name, ready in zip(part.names, part.ready, strict=True):
            if name in network.computed or not network.active(name, seen):
                settled = network.settled(name, held, seen)
                if not settled:
                    return None
                held[name], seen[name] = settled[0]
            else:
                held[name] = seen[name] = network.variables[name].sample(rng)
            if ready and any(rule.broken(seen, held) for rule in ready):
                return None
        return held

    @cached_property
    def _table(self) -> tuple[list[Values], list[float]] | None:
        """All feasible values with their cumulative chances; None if they are too many or have no declared chance."""
        variables = {name: self._network.variables[name] for name in self._part.names}
        free = {name: variable for name, variable in variables.items() if name not in self._network.computed}
        sizes = [variable.cardinality or math.inf for variable in free.values()]
        if max(sizes) > MAX_GRID or any(variable.scale == "structured" for variable in free.values()):
            return None
        listing = Listing(self._network, self._part, MAX_GRID, steps=TABLE_STEPS)
        rows = list(itertools.islice(listing.rows(), TABLED + 1))
        if len(rows) > TABLED or not listing.finished:
            return None
        chances = {name: _chances(variable) for name, variable in free.items()}
        weights = [math.prod(_chance(chances, name, value) for name, value in seen.items()) for _, seen in rows]
        return ([held for held, _ in rows], list(itertools.accumulate(weights))) if sum(weights) > 0 else None

    def _built(self, rng: random.Random) -> Values | None:
        names = self._part.names
        shuffled = dependency_order(tuple(rng.sample(names, len(names))), self._network.needs)
        return Search(self._network, component(shuffled, self._part.rules), rng, {}).run()

    def _wandered(self, rng: random.Random) -> Values:
        network, names = self._network, self._part.names
        defaults, _ = network.folded({})
        held = {name: defaults[name] for name in names}
        for name in rng.sample(names, len(names)):
            others = {other: value for other, value in held.items() if other != name}
            held = Search(network, self._part, rng, others).run() or held
        return held


def _chances(variable: Variable[Any]) -> Mapping[str, float]:
    """Return the chance of each value of a finite variable: twice what is missing to the middle of its share."""
    chances: dict[str, float] = {}
    below = 0.0
    for value in sorted(variable.grid(MAX_GRID), key=variable.unit):
        chance = max(0.0, 2 * (variable.unit(value) - below))
        chances[canonical_json(value)] = chance
        below += chance
    return chances


def _chance(chances: Mapping[str, Mapping[str, float]], name: str, value: Any) -> float:
    if value is ABSENT or name not in chances:
        return 1.0
    return chances[name].get(canonical_json(value), 0.0)
