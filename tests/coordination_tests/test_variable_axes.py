"""Where values lie, how they are drawn and listed, and how they move."""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_variables import floats, ints, seeds, variables

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import VariableError
from dspex_coordination.variables import Bool, Choice, Demos, Float, Int, Variable


@given(variables, st.integers(1, 12))
def test_a_grid_has_at_most_n_distinct_valid_values(variable: Variable[Any], n: int) -> None:
    values = variable.grid(n)
    assert 1 <= len(values) <= n
    assert len({canonical_json(variable.validate(value)) for value in values}) == len(values)


@given(variables)
def test_a_grid_as_large_as_the_domain_lists_all_of_it(variable: Variable[Any]) -> None:
    count = variable.cardinality
    if count is not None and count <= 3000:
        assert len(variable.grid(count)) == count
        assert len(variable.grid(count + 5)) == count


@given(variables, st.integers(1, 40))
def test_the_axis_gives_every_value_of_a_grid_back(variable: Variable[Any], n: int) -> None:
    if variable.scale == "structured":
        with pytest.raises(VariableError, match="has no axis from 0 to 1"):
            variable.unit(variable.default)
        return
    for value in variable.grid(n):
        assert 0.0 <= variable.unit(value) <= 1.0
        again = variable.at(variable.unit(value))
        if variable.scale == "real":
            span = variable.high - variable.low  # type: ignore[attr-defined] # a real one has bounds
            assert again == pytest.approx(value, rel=1e-9, abs=1e-9 * span)
        else:
            assert canonical_json(again) == canonical_json(value)


@given(floats() | ints(), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_the_axis_of_a_number_rises(variable: Any, positions: list[float]) -> None:
    values = [variable.at(position) for position in sorted(positions)]
    assert values == sorted(values)
    assert (variable.at(0.0), variable.at(1.0)) == (variable.low, variable.high)


@given(variables, seeds, st.floats(0.001, 1))
def test_a_mutation_is_valid_and_another_value_wherever_there_is_one(
    variable: Variable[Any], seed: int, strength: float
) -> None:
    rng = random.Random(seed)
    old = variable.sample(rng)
    before = canonical_json(old)
    new = variable.mutate(old, rng, strength)
    assert canonical_json(variable.validate(new)) == canonical_json(new)
    assert canonical_json(old) == before
    unbound = isinstance(variable, Demos) and not variable.pool
    assert (canonical_json(new) != before) is (variable.cardinality != 1 and not unbound)


@given(variables, st.sampled_from([0.0, -0.1, 1.1, math.nan]))
def test_a_mutation_of_no_strength_is_refused(variable: Variable[Any], strength: float) -> None:
    with pytest.raises(VariableError, match="strength of a mutation must be above 0 and at most 1"):
        variable.mutate(variable.default, random.Random(0), strength)


@pytest.mark.parametrize("position", [-0.1, 1.1, math.nan, True, "0.5"])
def test_a_position_outside_the_axis_is_refused(position: Any) -> None:
    for variable in (Float(0, 1), Int(0, 9), Choice(["a", "b"]), Bool()):
        with pytest.raises(VariableError, match="a position on the axis"):
            variable.at(position)


@pytest.mark.parametrize("strength", [0.05, 0.5])
def test_a_stronger_mutation_of_a_number_goes_farther(strength: float) -> None:
    rng = random.Random(5)
    moves = [abs(Float(0, 1).mutate(0.5, rng, strength) - 0.5) for _ in range(500)]
    assert sum(moves) / 500 == pytest.approx({0.05: 0.04, 0.5: 0.25}[strength], abs=0.03)


@given(ints(), st.integers(1, 60))
def test_a_grid_of_integers_has_exactly_n_values_even_on_a_log_scale(variable: Int, n: int) -> None:
    assert len(variable.grid(n)) == min(n, variable.cardinality)


def test_a_float_grid_holds_both_ends_exactly() -> None:
    assert Float(0.1, 0.7).grid(3)[0] == 0.1
    assert Float(1e-5, 1e-1, log=True).grid(5)[-1] == 1e-1
    assert Float(0, 1, step=0.25).grid(99) == [0.0, 0.25, 0.5, 0.75, 1.0]


def counts(variable: Variable[Any], draws: int = 6000) -> Counter[Any]:
    return Counter(variable.sample(random.Random(f"draw {number}")) for number in range(draws))


def chi_square(found: Counter[Any], shares: dict[Any, float]) -> float:
    total = found.total()
    return sum((found[value] - total * share) ** 2 / (total * share) for value, share in shares.items())


def test_bug_weights_of_a_choice_are_honoured_by_draws_axis_and_mutations() -> None:
    variable = Choice(["a", "b", "c", "never"], weights=[1, 2, 5, 0])
    shares = {"a": 1 / 8, "b": 2 / 8, "c": 5 / 8}
    even = Counter(variable.at((i + 0.5) / 800) for i in range(800))
    assert even == {"a": 100, "b": 200, "c": 500}
    found = counts(variable)
    assert set(found) == set(shares)
    assert chi_square(found, shares) < 13.8  # the 0.1 % point for two degrees of freedom
    rng = random.Random(8)
    moved = Counter(variable.mutate("a", rng, 0.5) for _ in range(3000))
    assert chi_square(moved, {"b": 2 / 7, "c": 5 / 7}) < 10.8  # likewise for one
    assert variable.validate("never") == "never"
    assert (variable.cardinality, variable.grid(9)) == (3, ["a", "b", "c"])
    assert variable.mutate("never", rng, 0.5) in shares


def test_the_default_of_a_weighted_choice_is_the_first_option_that_is_drawn() -> None:
    assert Choice(["a", "b"], weights=[0, 1]).default == "b"


def test_bug_steps_and_precision_are_honoured_by_draws_axis_grid_and_mutations() -> None:
    rng = random.Random(2)
    for variable in (Float(0, 1, step=0.25), Float(0, 1, precision=0.25), Int(0, 4)):
        values = [variable.grid(9)[i] for i in range(5)]
        assert chi_square(counts(variable), dict.fromkeys(values, 1 / 5)) < 18.5  # 0.1 %, four degrees
        assert {variable.at(i / 100) for i in range(101)} == set(values)
        assert {variable.mutate(values[2], rng, 0.3) for _ in range(300)} == set(values) - {values[2]}  # type: ignore[arg-type]
    assert set(counts(Int(10, 30, step=10))) == {10, 20, 30}


def test_bug_precision_rounds_a_value_where_a_step_refuses_it() -> None:
    assert Float(0, 1, precision=0.01).validate(0.1234) == 0.12
    assert Float(0.5, 2, precision=0.25).validate(0.9) == 1.0
    with pytest.raises(VariableError, match=r"in steps of 0\.01"):
        Float(0, 1, step=0.01).validate(0.1234)


def test_bug_a_normal_distribution_lies_around_the_default_and_inside_the_bounds() -> None:
    variable = Float(0, 10, default=2, distribution="normal")
    bell = NormalDist(2, 2.5)
    mass = bell.cdf(10) - bell.cdf(0)
    edges = [0, 1, 2, 3, 5, 10]
    shares = {i: (bell.cdf(edges[i + 1]) - bell.cdf(edges[i])) / mass for i in range(5)}
    found: Counter[Any] = Counter()
    for value, count in counts(variable).items():
        found[bisect.bisect_right(edges[1:-1], value)] += count
    assert chi_square(found, shares) < 18.5  # 0.1 %, four degrees
    assert variable.at(variable.unit(2)) == pytest.approx(2)
    assert variable.grid(5) == sorted(variable.grid(5))


def test_bug_a_logarithmic_distribution_is_the_same_by_either_name() -> None:
    assert Float(1e-3, 1, distribution="log") == Float(1e-3, 1, log=True)
    below = sum(count for value, count in counts(Float(1e-4, 1, distribution="log")).items() if value < 1e-2)
    assert below / 6000 == pytest.approx(0.5, abs=0.03)
    assert Float(1, 100, log=True, distribution="normal").default == pytest.approx(10)


def test_a_mutation_of_ordered_options_goes_to_neighbours_first() -> None:
    variable, rng = Choice(["none", "low", "mid", "high", "max"], ordered=True), random.Random(4)
    assert {variable.mutate("mid", rng, 0.05) for _ in range(100)} == {"low", "high"}
    assert variable.scale == "ordinal"


def test_mutations_of_examples_reach_every_kind_of_value() -> None:
    variable, rng = Demos(max=3).bind(["a", "b", "c", "d"]), random.Random(7)
    old = {"select": "fixed", "ids": ["a", "b"]}
    moved = [variable.mutate(old, rng, 0.5) for _ in range(400)]
    sizes = Counter(len(value["ids"]) for value in moved if value["select"] == "fixed")
    assert set(sizes) == {1, 2, 3}
    assert {"select": "fixed", "ids": ["b", "a"]} in moved
    assert any(value["select"] == "nearest" for value in moved)
    near = Counter(variable.mutate({"select": "nearest", "k": 2}, rng, 0.3).get("k") for _ in range(200))
    assert {1, 3} <= set(near)
    assert 2 not in near
