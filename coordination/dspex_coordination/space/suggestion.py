"""How to mend what is broken: the nearest change of one variable, or a configuration that works."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import ABSENT
from dspex_coordination.errors import SpaceError
from dspex_coordination.space.bounds import window
from dspex_coordination.space.network import Network, Rule, Values
from dspex_coordination.space.search import repaired
from dspex_coordination.space.trials import EVERYWHERE, inside, within
from dspex_coordination.space.violation import Violation, infeasible, space_error

TRIED = 64  # values of one variable, nearest first
_SEED = 0


def mended(network: Network, held: Values, seen: Values) -> list[Violation]:
    """Return a violation for each broken rule, with its own fix or the nearest change of one variable that mends it."""
    broken = network.broken(seen, held)
    rules = {rule for rule, _ in broken}
    return [
        Violation(rule.names, message, rule.constraint.fix or _fix(network, rule, rules, held, seen))
        for rule, message in broken
    ]


def _fix(network: Network, rule: Rule, broken: set[Rule], held: Values, seen: Values) -> str | None:
    for name in reversed(network.settable(rule.names)):
        if seen[name] is ABSENT:
            continue
        for value in _near(network, name, rule, held, seen):
            changed, visible = network.folded({**held, name: value}, [])
            still = {one for one, _ in network.broken(visible, changed)}
            if rule not in still and still <= broken:
                return f"set {name} to {value!r}"
    return None


def _near(network: Network, name: str, rule: Rule, held: Values, seen: Values) -> Iterator[Any]:
    """Yield the nearest value that the rule leaves a number, then those of its grid, near ones first."""
    variable = network.variables[name]
    others = {other: value for other, value in seen.items() if other != name and other not in network.computed}
    limits = window(network, name, [rule], others)
    found = inside(variable, limits)
    if found is None:
        return
    values: Sequence[Any] = within(variable, variable.grid(TRIED), limits)
    if variable.scale in ("real", "ordinal"):
        now = variable.unit(held[name])
        if limits != EVERYWHERE:
            values = [variable.validate(end) for end in found] + list(values)
        values = sorted(values, key=lambda value: abs(variable.unit(value) - now))
    yield from (value for value in values if canonical_json(value) != canonical_json(held[name]))


def unusable_default(network: Network, problems: list[Violation], held: Values, seen: Values) -> SpaceError:
    """Return the error for a default configuration that breaks rules: with one that keeps them, if there is one."""
    violations = [*problems, *mended(network, held, seen)]
    found = repaired(network, {name: held[name] for name in network.free}, random.Random(_SEED))  # noqa: S311 - one of many, always the same
    if found is None:
        heading = "No configuration was found that keeps these constraints; they may contradict each other"
        return infeasible(heading, violations)
    changed = {name: value for name, value in found.items() if canonical_json(value) != canonical_json(held[name])}
    offer = ", ".join(f"{name}={changed[name]!r}" for name in network.variables if name in changed)
    return space_error(f"The defaults cannot be used together; these would do: {offer}. They break", violations)
