"""How to mend what is broken: the nearest change of one variable, or a configuration that works."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.conditions import ABSENT
from dspex_coordination.errors import SpaceError
from dspex_coordination.space.bounds import window
from dspex_coordination.space.component import Component, Rule, Values, component
from dspex_coordination.space.network import Network
from dspex_coordination.space.repair import repaired
from dspex_coordination.space.search import Search
from dspex_coordination.space.trials import EVERYWHERE, inside, within
from dspex_coordination.space.violation import Violation, infeasible, space_error

TRIED = 64  # values of one variable, nearest first
DEFINITION_STEPS = 10_000  # values tried to find out whether constraints contradict each other
_SEED = 0


def mended(network: Network, held: Values, seen: Values) -> list[Violation]:
    """Return a violation for each broken rule, with its own fix or the nearest change of one variable that mends it."""
    broken = network.broken(seen, held)
    rules = {rule for rule, _ in broken}
    return [
        Violation(rule.names, message, rule.constraint.fix or _advice(_change(network, rule, rules, held, seen)))
        for rule, message in broken
    ]


def _advice(change: tuple[str, Any] | None) -> str | None:
    return None if change is None else f"set {change[0]} to {change[1]!r}"


def _change(network: Network, rule: Rule, allowed: set[Rule], held: Values, seen: Values) -> tuple[str, Any] | None:
    """Return a variable and the value near its own that keeps a rule and breaks none but the allowed ones."""
    names = reversed(network.settable(rule.names))
    for name in sorted(names, key=lambda name: network.variables[name].scale not in ("real", "ordinal")):
        if seen[name] is ABSENT:
            continue
        for value in _near(network, name, rule, held, seen):
            changed, visible = network.folded({**held, name: value}, [])
            still = {one for one, _ in network.broken(visible, changed)}
            if rule not in still and still <= allowed:
                return name, value
    return None


def _near(network: Network, name: str, rule: Rule, held: Values, seen: Values) -> Iterator[Any]:
    """Yield the nearest value that the rule leaves a number, then those of its grid, near ones first."""
    variable = network.variables[name]
    others = {other: value for other, value in seen.items() if name not in network.settable([other])}
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
    """Return the error for defaults that break rules, with values that keep them or with rules that cannot be kept."""
    broken = network.broken(seen, held)
    nearest = (_change(network, rule, set(), held, seen) for rule, _ in broken)
    change = None if problems else next((one for one in nearest if one is not None), None)
    start = {name: held[name] for name in network.free} | ({} if change is None else dict([change]))
    found = repaired(network, start, _generator())
    if found is None:
        return _contradiction(network, problems, broken)
    violations = [*problems, *mended(network, held, seen)]
    changed = {name: value for name, value in found.items() if canonical_json(value) != canonical_json(held[name])}
    offer = ", ".join(f"{name}={changed[name]!r}" for name in network.variables if name in changed)
    return space_error(f"The defaults cannot be used together; these would do: {offer}. They break", violations)


def _contradiction(network: Network, problems: list[Violation], broken: list[tuple[Rule, str]]) -> SpaceError:
    """Return the error with the rules in the way: as few as leave the search without success (a deletion filter)."""
    rules = {rule for rule, _ in broken}
    in_way, proven = [rule for rule in rules if not rule.names], True
    for part in network.components:
        if not rules.isdisjoint(part.rules):
            found, sure = _excluding(network, part)
            in_way += found
            proven = proven and sure
    why = "contradict each other" if proven else "leave no configuration that a bounded search could find"
    violations = [
        *problems,
        *(Violation(one.names, f"{one.constraint}: {one.constraint.message or 'must hold'}") for one in in_way),
    ]
    return infeasible(f"This space has no candidate, since these constraints {why}", violations)


def _excluding(network: Network, part: Component) -> tuple[list[Rule], bool]:
    rules, proven = list(part.rules), _searched(network, part, DEFINITION_STEPS) is True
    for rule in part.rules:
        fewer = component(part.names, [one for one in rules if one is not rule])
        outcome = _searched(network, fewer, DEFINITION_STEPS // len(part.rules))
        if outcome is not None and outcome >= proven:
            rules.remove(rule)
    return rules, proven


def _searched(network: Network, part: Component, steps: int) -> bool | None:
    """Return None if a search finds values, else whether it is sure that there are none."""
    search = Search(network, part, _generator(), {}, steps)
    return search.exhaustive if search.run() is None else None


def _generator() -> random.Random:
    return random.Random(_SEED)  # noqa: S311 - one of many, always the same
