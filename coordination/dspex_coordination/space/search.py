"""Feasible values: drawn, repaired and listed, part by part of a network."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from dspex_coordination.space.bounds import refuted, window
from dspex_coordination.space.component import Component, Rule, Values
from dspex_coordination.space.network import Network
from dspex_coordination.space.trials import trial_values

ATTEMPTS = 64  # draws of a whole part before it is built value by value
STEPS = 2_000  # values tried by one search


def drawn(network: Network, rng: random.Random) -> Values:
    """Return feasible values of every variable, drawn part by part.

    A part is drawn as declared until its rules hold, which keeps the declared distribution among the feasible values.
    If that fails, it is searched value by value, and at last changed from the default one variable at a time.
    """
    held: Values = {name: network.variables[name].sample(rng) for name in network.loose}
    for component in network.tied:
        found = accepted(network, component, rng)
        if found is None:
            found = Search(network, component, rng, {}).run() or _wandered(network, component, rng)
        held.update(found)
    return held


def accepted(network: Network, component: Component, rng: random.Random) -> Values | None:
    """Return the first draw of a part that keeps its rules; None after `ATTEMPTS`."""
    for _ in range(ATTEMPTS):
        held: Values = {}
        seen: Values = {}
        for name, ready in zip(component.names, component.ready, strict=True):
            if name in network.computed or not network.active(name, seen):
                settled = network.settled(name, held, seen)
                if not settled:
                    break
                held[name], seen[name] = settled[0]
            else:
                held[name] = seen[name] = network.variables[name].sample(rng)
            if ready and any(rule.broken(seen, held) for rule in ready):
                break
        else:
            return held
    return None


def _wandered(network: Network, component: Component, rng: random.Random) -> Values:
    """Change one variable of the default after the other (Gibbs sampling): the default is feasible, so this is too."""
    held, _ = network.folded({})
    held = {name: held[name] for name in component.names}
    names = [name for name in component.names if name not in network.computed]
    for name in rng.sample(names, len(names)):
        others = {other: value for other, value in held.items() if other != name}
        held = Search(network, component, rng, others).run() or held
    return held


def repaired(network: Network, values: Mapping[str, Any], rng: random.Random) -> Values | None:
    """Return feasible values near these: only parts with broken rules change, and as little of them as will do."""
    held, seen = network.folded(values)
    broken = {rule for rule, _ in network.broken(seen, held)}
    for component in network.components:
        rules = [rule for rule in component.rules if rule in broken]
        if rules:
            kept = {name: values.get(name, network.variables[name].default) for name in component.names}
            found = _mended(network, component, kept, rules, rng)
            if found is None:
                return None
            held.update(found)
    return held


def _mended(
    network: Network, component: Component, kept: Values, broken: list[Rule], rng: random.Random
) -> Values | None:
    """Redraw one variable of the broken rules, else all of them, else those of the next rules too, else all."""
    near = network.settable(name for rule in broken for name in rule.names)
    far = network.settable(
        name for rule in component.rules if set(near) & set(network.settable(rule.names)) for name in rule.names
    )
    singles = [(name,) for name in rng.sample(near, len(near))]
    for redrawn in (*singles, near, far, component.names):
        fixed = {name: value for name, value in kept.items() if name not in redrawn}
        found = Search(network, component, rng, fixed).run()
        if found is not None:
            return found
    return None


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
        self._foregone = {name: value for name, value in fixed.items() if name not in network.when}
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
