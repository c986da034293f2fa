"""`Search`: feasible values of a part of a space, found one variable after the other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from dspex_coordination.space.bounds import refuted, window
from dspex_coordination.space.component import Component, Rule, Values
from dspex_coordination.space.network import Network
from dspex_coordination.space.trials import trial_values

STEPS = 2_000  # values tried by one search


class Search:
    """A depth-first search for feasible values of a part, with conflict-directed backjumping (Prosser, 1993).

    Each variable is tried with values drawn as declared, within the bounds that the rules leave it; fixed ones keep
    their value. `steps` bounds the number of values tried.
    """

    def __init__(
        self,
        network: Network,
        component: Component,
        rng: random.Random,
        fixed: Mapping[str, Any],
        steps: int = STEPS,
    ) -> None:
        self._network, self._component, self._rng, self._fixed = network, component, rng, fixed
        self._steps = steps
        sure = fixed.keys() - network.when.keys() - network.computed.keys()  # whatever the others will be
        self._foregone = {name: fixed[name] for name in fixed if name in sure}
        self._rank = {name: position for position, name in enumerate(component.names)}
        self._held: Values = {}
        self._seen: Values = {}
        self.exhaustive = True  # whether every value there is was tried, so that failure is a proof
        self.blame: Counter[Rule] = Counter()

    def run(self) -> Values | None:
        """Return values, or None if there are none or none was found within the bound."""
        names = self._component.names
        trials: list[Iterator[Any]] = []
        culprits: list[set[int]] = []
        while True:
            if len(trials) == len(self._held):
                if len(trials) == len(names):
                    return dict(self._held)
                trials.append(self._trials(names[len(trials)]))
                culprits.append(set())
            if not self._advance(trials[-1], culprits[-1]):
                if self._steps <= 0:
                    self.exhaustive = False
                    return None
                if not self._jump(trials, culprits):
                    return None

    def _advance(self, trials: Iterator[Any], culprits: set[int]) -> bool:
        """Place the next value of the last variable that breaks no rule; note which variables ruled out the others."""
        position = len(self._held)
        name = self._component.names[position]
        for value, visible in trials:
            self._steps -= 1
            self._held[name], self._seen[name] = value, visible
            rule = self._broken(position)
            if rule is None:
                return True
            self.blame[rule] += 1
            culprits.update(self._rank[other] for other in rule.names)
            del self._held[name], self._seen[name]
            if self._steps <= 0:
                return False
        narrowing = (other for rule in self._component.touching(name) for other in rule.names)
        culprits.update(self._rank[other] for other in (*self._network.needs[name], *narrowing))
        culprits -= set(range(position, len(self._rank)))
        return False

    def _broken(self, position: int) -> Rule | None:
        """Return a rule that the value just placed breaks, now or whatever comes."""
        for rule in self._component.ready[position]:
            if rule.broken(self._seen, self._held) is not None:
                return rule
        later = self._component.waiting[position]
        return refuted(self._network, later, self._known()) if later else None

    def _known(self) -> Values:
        return {**self._foregone, **self._seen}

    def _jump(self, trials: list[Iterator[Any]], culprits: list[set[int]]) -> bool:
        """Go back to the last variable that has a part in the failure; False if there is none."""
        to_blame = culprits[-1]
        if not to_blame:
            return False
        target = max(to_blame)
        for name in self._component.names[target:]:
            self._held.pop(name, None)
            self._seen.pop(name, None)
        del trials[target + 1 :], culprits[target + 1 :]
        culprits[target] |= to_blame - {target}
        return True

    def _trials(self, name: str) -> Iterator[tuple[Any, Any]]:
        """Yield what a variable may hold, each with what is seen of it."""
        network = self._network
        if name in network.computed or not network.active(name, self._seen):
            yield from network.settled(name, self._held, self._seen)
        elif name in self._fixed:
            yield self._fixed[name], self._fixed[name]
        else:
            limits = window(network, name, self._component.touching(name), self._known())
            values, complete = trial_values(network.variables[name], limits, self._rng)
            self.exhaustive = self.exhaustive and complete
            for value in values:
                yield value, value
