"""Random spaces for property tests: variables of every kind, conditions, computed values and constraints.

Every space can be used: a condition that the defaults break is turned into its opposite.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from dspex_coordination.candidate import Candidate
from dspex_coordination.conditions import ABSENT, Condition, Expression, V, count, implies, total
from dspex_coordination.space import Constraint, Space, at_most_one
from dspex_coordination.variables import Bool, Choice, Composite, Demos, Float, Int, Variable

NAMES = "abcdefgh"
NUMBERS = (Int, Float, Composite)


def _kinds(*, finite: bool) -> list[Any]:
    small: list[Any] = [
        lambda when: Bool(when=when),
        lambda when: Int(0, 3, when=when),
        lambda when: Int(2, 8, step=2, default=8, when=when),
        lambda when: Choice(["x", "y", "z"], default="y", when=when),
        lambda when: Choice(["low", "mid", "high"], ordered=True, when=when),
        lambda when: Choice(["x", "y"], weights=[3.0, 1.0], when=when),
        lambda when: Float(0.0, 1.0, step=0.25, when=when),
        lambda when: Float(0.1, 0.6, step=0.1, when=when),
    ]
    large: list[Any] = [
        lambda when: Float(-1.0, 3.0, when=when),
        lambda when: Float(0.001, 10.0, log=True, when=when),
        lambda when: Int(1, 100_000, log=True, when=when),
        lambda when: Demos(max=2, when=when),
    ]
    return small if finite else small + large


def _pairs(name: str, other: str) -> list[Condition]:
    guarded = (V(other) == 0) | (V(name) / V(other) <= 2)
    return [
        V(name) <= V(other),
        V(name) + V(other) < 4,
        total(V(name), V(other)) > 2,
        V(name) + V(other) <= 0.3,
        guarded,
    ]


def _atoms(known: Mapping[str, Variable[Any]]) -> st.SearchStrategy[Condition]:
    """One comparison with the value of a known variable."""
    options: list[st.SearchStrategy[Condition]] = []
    numbers = [name for name, variable in known.items() if isinstance(variable, NUMBERS)]
    for name, variable in known.items():
        if isinstance(variable, Bool):
            options.append(st.just(V(name) == True))  # noqa: E712 - makes a condition
        if isinstance(variable, Choice):
            subset = st.lists(st.sampled_from(variable.options), min_size=1, max_size=2)
            options.append(subset.map(lambda values, name=name: V(name).is_in(values)))  # type: ignore[misc] # bound
    for name in numbers:
        options.append(st.sampled_from([V(name) <= 1, V(name) > 0, V(name) == 2, V(name) < 6]))
        options.extend(st.sampled_from(_pairs(name, other)) for other in numbers if other != name)
    return st.one_of(options)


def conditions(known: Mapping[str, Variable[Any]]) -> st.SearchStrategy[Condition]:
    """Return conditions on known variables, at least one of which is a number, a choice or a bool."""
    atoms = _atoms(known)
    return st.one_of(
        atoms,
        atoms.map(lambda one: ~one),
        st.tuples(atoms, atoms).map(lambda pair: pair[0] & pair[1]),
        st.tuples(atoms, atoms).map(lambda pair: pair[0] | pair[1]),
        st.tuples(atoms, atoms).map(lambda pair: implies(*pair)),
        st.tuples(atoms, atoms, atoms).map(lambda three: count(*three) <= 2),
    )


def _comparable(known: Mapping[str, Variable[Any]]) -> dict[str, Variable[Any]]:
    return {name: variable for name, variable in known.items() if not isinstance(variable, Demos)}


@st.composite
def _variables(draw: st.DrawFn, *, finite: bool, most: int) -> dict[str, Variable[Any]]:
    known: dict[str, Variable[Any]] = {}
    for name in NAMES[: draw(st.integers(1, most))]:
        comparable = _comparable(known)
        numbers = [other for other, variable in known.items() if isinstance(variable, NUMBERS)]
        if numbers and draw(st.integers(0, 4)) == 0:
            first, second = draw(st.sampled_from(numbers)), draw(st.sampled_from(numbers))
            known[name] = Composite(total(V(first), V(second) * 2))
            continue
        when = draw(conditions(comparable)) if comparable and draw(st.integers(0, 2)) == 0 else None
        known[name] = draw(st.sampled_from(_kinds(finite=finite)))(when)
    order = draw(st.permutations(list(known)))
    return {name: known[name] for name in order}


@st.composite
def spaces(draw: st.DrawFn, *, finite: bool = False, most: int = 6, constraints: int = 3) -> Space:
    """Return spaces of up to `most` variables and up to `constraints` constraints; small if `finite`."""
    variables = draw(_variables(finite=finite, most=most))
    free = Space(variables)
    comparable = _comparable(variables)
    if not comparable:
        return free
    drawn = draw(st.lists(conditions(comparable), max_size=constraints))
    chosen = [Constraint(~condition if _broken(free, condition) else condition) for condition in drawn]
    if draw(st.booleans()) and len(comparable) > 1:
        pair = [draw(_atoms({name: comparable[name]})) for name in list(comparable)[:2]]
        rule = at_most_one(*pair)
        if rule.condition is not None and not _broken(free, rule.condition):
            chosen.append(rule)
    return Space(variables, chosen)


def _broken(space: Space, condition: Condition) -> bool:
    """Whether the defaults break a condition, told by a space that has no constraints."""
    return condition.value(_seen(space, {}, {})) is False


def _seen(space: Space, values: Mapping[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """What every variable shows for values of the free ones, worked out from the definitions alone, by recursion."""
    shown: dict[str, Any] = {}

    def show(name: str) -> Any:
        if name in shown:
            return shown[name]
        variable = space.variables[name]
        held[name], value = variable.default, ABSENT
        if variable.when is None or variable.when.holds({other: show(other) for other in variable.when.names}):
            if isinstance(variable, Composite) and isinstance(variable.source, Expression):
                value = variable.source.value({other: show(other) for other in variable.dependencies})
                held[name] = None if value is ABSENT else value
            else:
                value = held[name] = values.get(name, variable.default)
        shown[name] = value
        return value

    return {name: show(name) for name in space.variables}


def brute_force(space: Space) -> Iterator[str]:
    """Yield the key of every feasible candidate of a finite space once, by trying every combination of values."""
    grids = [space.variables[name].grid(10_000) for name in space.free]
    keys = set()
    for row in itertools.product(*grids):
        held: dict[str, Any] = {}
        seen = _seen(space, dict(zip(space.free, row, strict=True)), held)
        candidate = Candidate(held)
        rules = [constraint.condition for constraint in space.constraints if constraint.condition is not None]
        if candidate.key not in keys and all(rule.value(seen) is not False for rule in rules):
            keys.add(candidate.key)
            yield candidate.key
