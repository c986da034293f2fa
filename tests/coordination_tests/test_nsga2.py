"""NSGA-II: the contract, what breeds and survives, and how good and how fast it is."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizer_contract import OptimizerContract

from dspex_coordination import Bool, Candidate, Choice, Float, OptimizerError, SearchContext, Space, Told
from dspex_coordination.conditions import V
from dspex_coordination.objectives import Bound, Objective, hypervolume
from dspex_coordination.optimizers import Optimizer, RandomSearch
from dspex_coordination.optimizers.nsga2 import NSGA2
from dspex_coordination.optimizers.real_operators import polynomial, simulated_binary

Outcome = Sequence[float]
UNIT = st.floats(0.0, 1.0)


class TestNSGA2(OptimizerContract):
    name = "nsga2"
    trials: ClassVar[int] = 24

    def make(self, context: SearchContext) -> Optimizer:
        return NSGA2(seed=context.seed, max_trials=context.max_trials, population=6)


def searching(space: Space, trials: int, seed: int, bounds: tuple[Bound, ...] = ()) -> SearchContext:
    objectives = tuple(Objective(f"f{i}", "minimize") for i in range(2))
    return SearchContext(space, seed, trials, (), None, 0, 1, objectives, bounds)


def told_of(number: int, candidate: Candidate, outcome: Outcome) -> Told:
    measures = {f"f{i}": value for i, value in enumerate(outcome)}
    return Told(number, candidate, "validation", (0,), (0.0,), (None,), 0.0, None, measures)


def searched(optimizer: Optimizer, context: SearchContext, world: Callable[[Candidate], Outcome]) -> list[Told]:
    optimizer.start(context)
    trials: list[Told] = []
    while (ask := optimizer.ask(0)) is not None:
        trials.append(told_of(len(trials), ask.candidate, world(ask.candidate)))
        optimizer.tell(trials[-1])
    return trials


def zdt1(candidate: Candidate) -> Outcome:
    x = [candidate.values[f"x{i}"] for i in range(10)]
    g = 1 + 9 * math.fsum(x[1:]) / 9
    return x[0], g * (1 - math.sqrt(x[0] / g))


def volume(trials: Sequence[Told], reference: Sequence[float]) -> float:
    gains = [[-trial.measures[f"f{i}"] for i in range(len(reference))] for trial in trials]
    return hypervolume(np.array(gains), -np.array(reference))


TEN = Space({f"x{i}": Float(0.0, 1.0) for i in range(10)})


def test_it_dominates_more_than_random_search_on_zdt1() -> None:
    ours, theirs = [], []
    for seed in range(3):
        context = searching(TEN, 300, seed)
        ours.append(volume(searched(NSGA2(), context, zdt1), (1.1, 6.0)))
        theirs.append(volume(searched(RandomSearch(), context, zdt1), (1.1, 6.0)))
    assert min(ours) > max(theirs) + 0.5
    assert statistics.median(ours) > 0.87 * (1.1 * 6.0 - 1 / 3)  # of the area that the true front dominates


def test_it_finds_both_ends_and_the_middle_of_a_front() -> None:
    space = Space({"x": Float(-5.0, 10.0)})
    trials = searched(NSGA2(), searching(space, 200, 1), lambda c: (c.values["x"] ** 2, (c.values["x"] - 2) ** 2))
    on_front = sorted(t.candidate.values["x"] for t in trials if -0.05 <= t.candidate.values["x"] <= 2.05)
    gaps = [b - a for a, b in itertools.pairwise(on_front)]
    assert on_front[0] < 0.1
    assert on_front[-1] > 1.9
    assert max(gaps) < 0.25


def test_results_within_the_bounds_come_before_better_ones_that_break_them() -> None:
    bounds = (Bound("f0", at_least=0.5),)
    optimizer = NSGA2()
    trials = searched(optimizer, searching(TEN, 300, 2, bounds), zdt1)
    late = trials[150:]
    assert sum(trial.measures["f0"] >= 0.5 for trial in late) > 0.6 * len(late)
    best = optimizer.best()
    assert best is not None
    assert best.measures["f0"] >= 0.5


def test_the_last_front_loses_its_most_crowded_members() -> None:
    space = Space({"x": Float(0.0, 1.0)})
    context = searching(space, 50, 1)
    optimizer = NSGA2(population=3)
    optimizer.start(context)
    spots = [0.0, 0.5, 0.52, 1.0, 0.9]  # 0.52 lies nearer to its neighbours than 0.5 does, then 0.9
    for number, spot in enumerate(spots):
        ask = optimizer.ask(number)
        assert ask is not None
        optimizer.tell(told_of(number, ask.candidate, (spot, 1.0 - spot)))
    assert {spots[number] for number in optimizer.state_dict()["extra"]["population"]} == {0.0, 0.5, 1.0}


def test_a_dominated_result_never_displaces_a_member() -> None:
    optimizer = NSGA2(population=2)
    optimizer.start(searching(Space({"x": Float(0.0, 1.0)}), 50, 1))
    for number, outcome in enumerate([(0.0, 1.0), (1.0, 0.0), (2.0, 2.0), (0.5, 1.5)]):
        ask = optimizer.ask(number)
        assert ask is not None
        optimizer.tell(told_of(number, ask.candidate, outcome))
    assert optimizer.state_dict()["extra"]["population"] == [0, 1]


def test_earlier_results_are_the_first_parents() -> None:
    past = searched(NSGA2(), searching(TEN, 200, 3), zdt1)
    context = SearchContext(TEN, 4, 60, (), None, 0, 1, searching(TEN, 1, 1).objectives, earlier=tuple(past))
    warm = searched(NSGA2(), context, zdt1)
    cold = searched(NSGA2(), searching(TEN, 60, 4), zdt1)
    assert volume(warm, (1.1, 6.0)) > volume(cold, (1.1, 6.0))
    assert not {trial.candidate.key for trial in warm[1:]} & {trial.candidate.key for trial in cold[1:]}


def test_a_variable_that_only_one_parent_uses_comes_from_it() -> None:
    space = Space(
        {
            "thinks": Bool(),
            "depth": Float(0.0, 1.0, default=0.5, when=V("thinks") == True),  # noqa: E712 - a condition
            "model": Choice(["a", "b", "c"]),
        }
    )
    optimizer = NSGA2(population=4, crossover_rate=1.0)
    trials = searched(optimizer, searching(space, 80, 5), lambda c: (float(not c.values["thinks"]), c.values["depth"]))
    for trial in trials:
        assert space.validate(trial.candidate.values) == trial.candidate
        assert trial.candidate.values["thinks"] or trial.candidate.values["depth"] == 0.5
    assert min(trial.measures["f1"] for trial in trials if trial.candidate.values["thinks"]) < 0.05


@given(UNIT, UNIT, st.floats(0.0, 50.0), st.integers(0, 10**6))
def test_crossover_and_mutation_stay_on_the_axis(one: float, other: float, index: float, seed: int) -> None:
    rng = random.Random(seed)
    if one != other:
        assert 0.0 <= simulated_binary(one, other, index, rng) <= 1.0
    assert 0.0 <= polynomial(one, index, rng) <= 1.0


def test_a_child_of_crossover_is_spread_evenly_around_its_parents() -> None:
    """In the middle of the axis the mean of the children is that of the parents, and half lie between them."""
    rng = random.Random(1)
    children = [simulated_binary(0.45, 0.55, 5.0, rng) for _ in range(20_000)]
    assert statistics.fmean(children) == pytest.approx(0.5, abs=0.001)
    assert 0.48 < sum(0.45 < child < 0.55 for child in children) / len(children) < 0.52


def test_a_larger_index_means_smaller_steps() -> None:
    rng = random.Random(2)
    steps = {index: statistics.fmean(abs(polynomial(0.5, index, rng) - 0.5) for _ in range(4000)) for index in (2, 20)}
    assert steps[20] < 0.3 * steps[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, "population must be at least 2, got 1"),
        ({"crossover_rate": 1.5}, "crossover_rate must be from 0 to 1"),
        ({"mutation_index": -1.0, "crossover_index": -2.0}, "crossover_index .* mutation_index"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(OptimizerError, match=message):
        NSGA2(**settings)  # type: ignore[arg-type] # settings of several types


def test_an_ask_after_a_thousand_trials_of_twenty_variables_is_quick() -> None:
    """The bar is 1 ms; the fastest of many asks tells of the code, and not of a busy machine."""
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(20)})
    optimizer = NSGA2()
    optimizer.start(searching(space, 1100, 1))
    took: list[float] = []
    for number in range(1040):
        start = time.perf_counter()
        ask = optimizer.ask(0)
        took.append(time.perf_counter() - start)
        assert ask is not None
        x = ask.candidate.values
        optimizer.tell(told_of(number, ask.candidate, (x["x0"], 1 - x["x0"] + x["x1"])))
    assert min(took[1000:]) < 0.001
    assert len(json.dumps(optimizer.state_dict()["extra"])) < 1000
