"""Designs: random, weighted, Latin hypercube, Sobol and grid."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_spaces import brute_force, spaces

from dspex_coordination.candidate import Candidate
from dspex_coordination.conditions import V
from dspex_coordination.errors import SpaceError
from dspex_coordination.sampling import (
    candidate_at,
    grid,
    latin_hypercube,
    random_design,
    sobol,
    sobol_points,
    weighted,
)
from dspex_coordination.space import Space
from dspex_coordination.variables import Bool, Choice, Demos, Float, Int

Design = Callable[[Space, int, int], Iterator[Candidate]]
DESIGNS: dict[str, Design] = {
    "random": random_design,
    "latin": latin_hypercube,
    "sobol": sobol,
    "weighted": lambda space, seed, number: weighted(space, seed, {}, number),
}
designs = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)

mixed = Space(
    {
        "rate": Float(0.001, 1.0, log=True),
        "kind": Choice(["a", "b"]),
        "depth": Int(1, 8, when={"kind": "b"}),
        "demos": Demos(max=2),
    },
    [V("depth") < 7],
).bind(["p", "q", "r"])


@designs
@given(spaces(finite=True, most=4), st.integers(0, 1000))
@settings(max_examples=25, deadline=2000)
def test_a_finite_space_is_given_completely_and_no_candidate_twice(design: Design, space: Space, seed: int) -> None:
    expected = set(brute_force(space))
    keys = [candidate.key for candidate in design(space, seed, len(expected) + 5)]
    assert len(keys) == len(set(keys))
    assert set(keys) == expected


@designs
@given(spaces(), st.integers(0, 1000))
@settings(max_examples=25, deadline=2000)
def test_every_candidate_is_feasible_and_the_seed_alone_decides(design: Design, space: Space, seed: int) -> None:
    bound = space.bind(["p", "q", "r"])
    turned = Space(dict(reversed(list(bound.variables.items()))), bound.constraints)
    drawn = list(design(bound, seed, 6))
    assert all(bound.validate(candidate.values) == candidate for candidate in drawn)
    assert list(design(turned, seed, 6)) == drawn


@designs
def test_another_seed_gives_other_candidates(design: Design) -> None:
    assert list(design(mixed, 1, 8)) != list(design(mixed, 2, 8))


def test_a_latin_hypercube_has_one_candidate_in_each_part_of_every_axis() -> None:
    space = Space({"x": Float(0, 1), "y": Float(1e-4, 1, log=True), "k": Int(0, 9)})
    drawn = list(latin_hypercube(space, 0, 50))
    for name in ("x", "y"):
        variable = space.variables[name]
        assert sorted(int(variable.unit(one.values[name]) * 50) for one in drawn) == list(range(50))
    assert set(Counter(one.values["k"] for one in drawn).values()) == {5}


def test_every_prefix_of_a_power_of_two_of_a_sobol_design_is_balanced() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    drawn = list(sobol(space, 3, 64))
    for size in (2, 4, 8, 16, 32, 64):
        for name in ("x", "y"):
            assert sorted(int(one.values[name] * size) for one in drawn[:size]) == list(range(size))
    quarters = Counter((int(one.values["x"] * 8), int(one.values["y"] * 8)) for one in drawn)
    assert set(quarters.values()) == {1}


def test_sobol_points_do_not_repeat_and_an_axisless_space_has_empty_points() -> None:
    points = list(islice(sobol_points(3, 0), 1000))
    assert len({tuple(point) for point in points}) == 1000
    assert list(islice(sobol_points(0, 0), 2)) == [[], []]
    assert len(list(sobol(Space({}), 0))) == 1


def test_weights_are_honoured_and_a_mistake_in_them_is_named() -> None:
    space = Space({"provider": Choice(["a", "b", "c"]), "x": Float(0, 1), "deep": Bool()})
    drawn = Counter(one.values["provider"] for one in weighted(space, 0, {"provider": {"a": 3.0, "b": 1.0}}, 400))
    assert drawn["c"] == 0
    assert drawn["a"] / 400 == pytest.approx(0.75, abs=0.07)
    with pytest.raises(SpaceError, match=r"x is no Choice .* Known: provider"):
        next(weighted(space, 0, {"x": {"a": 1.0}}))
    with pytest.raises(SpaceError, match="provider has no option 'd'"):
        next(weighted(space, 0, {"provider": {"d": 1.0}}))


def test_a_grid_is_counted_before_it_is_walked() -> None:
    space = Space({"x": Float(0, 1), "k": Int(1, 100), "kind": Choice(["a", "b"])}, [V("k") <= 50])
    count, candidates = grid(space, 100, levels=3)
    listed = list(candidates)
    assert count == len(listed) == len({one.key for one in listed}) == 12
    assert {one.values["k"] for one in listed} == {1, 50}
    assert all(space.validate(one.values) == one for one in listed)


@given(spaces(finite=True, most=4))
@settings(max_examples=25, deadline=2000)
def test_a_full_grid_is_the_whole_space(space: Space) -> None:
    expected = set(brute_force(space))
    count, candidates = grid(space, len(expected))
    assert count == len(expected)
    assert {one.key for one in candidates} == expected


def test_a_grid_over_its_limit_is_refused_with_its_number() -> None:
    space = Space({f"k{i}": Int(1, 10) for i in range(4)})
    with pytest.raises(SpaceError, match=r"This grid has 10,000 candidates, more than the limit of 9,999"):
        grid(space, 9_999)
    with pytest.raises(SpaceError, match=r"has up to 100,000,000 candidates"):
        grid(Space({f"k{i}": Int(1, 10) for i in range(8)}), 100)
    with pytest.raises(SpaceError, match=r"x has no finite number of values; say how many of them with levels="):
        grid(Space({"x": Float(0, 1)}), 100)
    with pytest.raises(SpaceError, match="at least one candidate"):
        latin_hypercube(space, 0, 0)


def test_a_point_gives_the_candidate_at_its_coordinates() -> None:
    space = Space({"b": Int(0, 9), "a": Float(0, 1)})
    candidate = candidate_at(space, [0.25, 0.95], random.Random(0))
    assert candidate == Candidate({"b": 9, "a": 0.25})


def test_designs_are_the_same_in_another_process() -> None:
    code = (
        "from dspex_coordination.sampling import *; from dspex_coordination.space import Space\n"
        "from dspex_coordination.variables import *\n"
        "space = Space({'x': Float(0, 1), 'k': Choice(['a', 'b', 'c'])})\n"
        "print([one.key for design in (random_design, latin_hypercube, sobol) for one in design(space, 7, 4)])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    space = Space({"x": Float(0, 1), "k": Choice(["a", "b", "c"])})
    here = [one.key for design in (random_design, latin_hypercube, sobol) for one in design(space, 7, 4)]
    assert other == f"{here}\n"
