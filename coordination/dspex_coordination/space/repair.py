"""Feasible values near those of a proposal, such as a child of two candidates."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_coordination.space.component import Component, Values
from dspex_coordination.space.network import Network
from dspex_coordination.space.search import Search
from dspex_coordination.space.violation import Violation


def repaired(network: Network, values: Mapping[str, Any], rng: random.Random) -> Values | None:
    """Return feasible values near these: only parts with broken rules change, and as little of them as will do."""
    problems: list[Violation] = []
    held, seen = network.folded(values, problems)
    tied = [problem.names for problem in problems] + [rule.names for rule, _ in network.broken(seen, held)]
    for component in network.tied:
        wrong = [name for names in tied if names and names[0] in component.names for name in names]
        if wrong:
            kept = {name: values.get(name, network.variables[name].default) for name in component.names}
            found = _mended(network, component, kept, wrong, rng)
            if found is None:
                return None
            held.update(found)
    return held


def _mended(
    network: Network, component: Component, kept: Values, wrong: Sequence[str], rng: random.Random
) -> Values | None:
    """Redraw one of the variables that are wrong together, else all of them, else those tied to them, else all."""
    near = network.settable(wrong)
    far = network.settable(
        name for rule in component.rules if set(near) & set(network.settable(rule.names)) for name in rule.names
    )
    singles = [(name,) for name in rng.sample(near, len(near))]
    for redrawn in (*singles, near, (*near, *far), component.names):
        fixed = {name: value for name, value in kept.items() if name not in redrawn}
        found = Search(network, component, rng, fixed).run()
        if found is not None:
            return found
    return None
