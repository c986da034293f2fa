"""Properties of spaces with random conditions, computed values and constraints."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import brute_force, spaces

from dspex_coordination.candidate import Candidate
from dspex_coordination.conditions import V
from dspex_coordination.space import Space
from dspex_coordination.variables import Choice, Int

seeds = st.integers(0, 2**32)
small = spaces(finite=True, most=5)


@given(small)
@settings(max_examples=60, deadline=2000)
def test_every_and_count_agree_with_brute_force(space: Space) -> None:
    expected = set(brute_force(space))
    listed = [candidate.key for candidate in space.every(10_000)]
    assert len(listed) == len(set(listed))
    assert set(listed) == expected
    assert space.count(100_000) == len(expected)
    assert space.count(len(expected)) == len(expected)
    assert space.count(len(expected) - 1) is None
    assert space.cardinality is not None
    assert space.cardinality >= len(expected)


def test_a_variable_that_is_never_active_does_not_make_a_count_too_large() -> None:
    never = V("a").is_in(["x"]) & V("a").is_in(["y"])
    space = Space({"a": Choice(["x", "y", "z"], default="y"), "b": Int(0, 3, default=1, when=never)})
    assert (space.count(3), space.count(2)) == (3, None)


@given(small, seeds)
@settings(max_examples=60, deadline=2000)
def test_samples_are_among_those_of_brute_force(space: Space, seed: int) -> None:
    expected = set(brute_force(space))
    rng = random.Random(seed)
    assert {space.sample(rng).key for _ in range(10)} <= expected


@given(spaces().map(lambda space: space.bind(["p", "q", "r"])), seeds)
@settings(max_examples=100, deadline=2000)
def test_every_sample_and_listed_candidate_validates_to_itself(space: Space, seed: int) -> None:
    rng = random.Random(seed)
    for candidate in [space.default(), *(space.sample(rng) for _ in range(3)), *islice(space.every(3), 5)]:
        assert space.feasible(candidate.values)
        assert space.validate(candidate.values) == candidate
        assert space.complete(candidate.values) == candidate
        assert space.repair(candidate.values, rng) == candidate


@given(spaces(), seeds, seeds)
@settings(max_examples=100, deadline=2000)
def test_a_crossover_is_repaired_to_a_feasible_candidate(space: Space, seed: int, other: int) -> None:
    rng = random.Random(seed)
    first, second = space.sample(rng), space.sample(random.Random(other))
    child = {name: rng.choice([first, second]).values[name] for name in space.free}
    repaired = space.repair(child, rng)
    assert repaired is not None
    assert space.validate(repaired.values) == repaired
    if space.feasible(child):
        assert repaired == space.complete(child)


@given(spaces())
@settings(deadline=2000)
def test_what_a_variable_needs_comes_before_it(space: Space) -> None:
    place = {name: position for position, name in enumerate(space.order)}
    assert sorted(place) == sorted(space.names)
    for name, variable in space.variables.items():
        needed = [*(variable.when.names if variable.when is not None else ()), *getattr(variable, "dependencies", ())]
        assert all(place[other] < place[name] for other in needed)


@given(spaces(), seeds)
@settings(deadline=2000)
def test_meaning_survives_json_and_another_order_of_declaration(space: Space, seed: int) -> None:
    turned = Space(dict(reversed(list(space.variables.items()))), list(reversed(space.constraints)))
    again = Space.from_json(space.to_json())
    assert again == space
    assert turned.fingerprint == again.fingerprint == space.fingerprint
    drawn = [one.sample(random.Random(seed)) for one in (space, again, turned)]
    assert drawn[0] == drawn[1] == drawn[2]


@given(spaces(finite=True), seeds)
@settings(deadline=2000)
def test_an_inactive_variable_holds_its_default(space: Space, seed: int) -> None:
    values = space.sample(random.Random(seed)).values
    active = space.active(values)
    for name in space.free:
        if name not in active:
            assert values[name] == space.variables[name].default
            for other in space.variables[name].grid(100):
                assert space.complete({**values, name: other}) == Candidate(values)
