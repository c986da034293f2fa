"""BEACON: the contract, and what it makes of results, bounds, batches, failures and earlier runs."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from optimizer_contract import OptimizerContract

from dspex_coordination import Bool, Candidate, Choice, Float, Int, OptimizerError, SearchContext, Space, Told
from dspex_coordination.conditions import V
from dspex_coordination.objectives import Bound, Objective
from dspex_coordination.optimizers import Optimizer, RandomSearch
from dspex_coordination.optimizers.beacon import Beacon

LOSS = (Objective("loss", "minimize"),)
FOUR = Space({f"x{i}": Float(-5.0, 5.0, default=4.0) for i in range(4)})
TUNING = Space(
    {
        "method": Choice(["a", "b", "c"]),
        "rate": Float(1e-4, 1.0, log=True),
        "depth": Int(1, 12, when=V("method") == "b"),
        "share": Float(0.0, 1.0, when=V("method") == "c"),
        "wide": Bool(),
    }
)


class TestBeacon(OptimizerContract):
    name = "beacon"
    trials: ClassVar[int] = 12

    def make(self, context: SearchContext) -> Optimizer:
        return Beacon(seed=context.seed, max_trials=context.max_trials, initial=4)


def searching(space: Space, trials: int, seed: int = 1, **more: Any) -> SearchContext:
    return SearchContext(space, seed, trials, (), None, 0, 1, **{"objectives": LOSS, **more})


def told_of(number: int, candidate: Candidate, **measures: float) -> Told:
    return Told(number, candidate, "validation", (0,), (0.0,), (None,), 0.0, None, measures)


def searched(optimizer: Optimizer, context: SearchContext, loss: Callable[[Candidate], float]) -> list[Told]:
    optimizer.start(context)
    trials: list[Told] = []
    while (ask := optimizer.ask(0)) is not None:
        trials.append(told_of(len(trials), ask.candidate, loss=loss(ask.candidate)))
        optimizer.tell(trials[-1])
    return trials


def least(trials: list[Told]) -> float:
    return min(trial.measures["loss"] for trial in trials)


def valley(candidate: Candidate) -> float:
    x = [candidate.values[f"x{i}"] for i in range(4)]
    return math.fsum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x))


def tuned(candidate: Candidate) -> float:
    x = candidate.values
    rate = (math.log10(x["rate"]) + (2.5 if x["wide"] else 1.0)) ** 2
    if x["method"] == "b":
        return 0.3 + rate + 0.02 * abs(x["depth"] - 9)
    return rate + (0.4 if x["method"] == "a" else abs(x["share"] - 0.8)) + 0.1 * (not x["wide"])


def test_it_comes_far_nearer_to_the_bottom_of_a_valley_than_random_search() -> None:
    ours = [least(searched(Beacon(), searching(FOUR, 50, seed), valley)) for seed in range(3)]
    theirs = [least(searched(RandomSearch(), searching(FOUR, 50, seed), valley)) for seed in range(3)]
    assert statistics.median(ours) < statistics.median(theirs) / 10


def test_it_finds_the_right_branch_of_a_conditional_space() -> None:
    best = min(searched(Beacon(), searching(TUNING, 60, 4), tuned), key=lambda trial: trial.measures["loss"])
    assert best.candidate.values["method"] == "c"
    assert best.measures["loss"] < 0.05


def test_a_batch_spreads() -> None:
    optimizer = Beacon(initial=8)
    optimizer.start(searching(FOUR, 60))
    for number in range(20):
        ask = optimizer.ask(0)
        assert ask is not None
        optimizer.tell(told_of(number, ask.candidate, loss=valley(ask.candidate)))
    batch = [optimizer.ask(pending) for pending in range(8)]
    points = [[ask.candidate.values[name] for name in FOUR.names] for ask in batch if ask is not None]
    nearest = [min(math.dist(one, other) for other in points if other is not one) for one in points]
    assert statistics.median(nearest) > 0.3


def test_candidates_near_failed_ones_are_asked_less_often() -> None:
    space = Space({"x": Float(0.0, 1.0, default=0.5)})
    optimizer = Beacon(initial=4)
    optimizer.start(searching(space, 30))
    asked = []
    for number in range(30):
        ask = optimizer.ask(0)
        assert ask is not None
        x = ask.candidate.values["x"]
        asked.append(x)
        if x > 0.7:  # better and better, but nothing there can be scored
            optimizer.tell(Told(number, ask.candidate, "validation", (), (), (), 0.0, "boom"))
        else:
            optimizer.tell(told_of(number, ask.candidate, loss=-x))
    assert sum(0.6 < x <= 0.7 for x in asked[10:]) > sum(x > 0.72 for x in asked[10:])
    best = optimizer.best()
    assert best is not None
    assert best.candidate.values["x"] > 0.68


def test_the_best_that_keeps_a_bound_lies_at_the_bound() -> None:
    space = Space({"x": Float(0.0, 1.0, default=0.1), "y": Float(0.0, 1.0, default=0.9)})
    context = searching(space, 40, bounds=(Bound("weight", at_most=0.8),))
    optimizer = Beacon()
    optimizer.start(context)
    for number in range(40):
        ask = optimizer.ask(0)
        assert ask is not None
        x, y = ask.candidate.values["x"], ask.candidate.values["y"]
        optimizer.tell(told_of(number, ask.candidate, loss=-x - 0.5 * y, weight=x + y))
    best = optimizer.best()
    assert best is not None
    assert best.measures["weight"] <= 0.8
    assert best.measures["loss"] < -0.77  # -0.8 is the least that keeps the bound


def test_with_two_objectives_both_ends_of_the_front_are_found() -> None:
    space = Space({"x": Float(-5.0, 10.0), "y": Float(0.0, 1.0)})
    optimizer = Beacon()
    optimizer.start(searching(space, 50, objectives=(Objective("a", "minimize"), Objective("b", "minimize"))))
    found = []
    for number in range(50):
        ask = optimizer.ask(0)
        assert ask is not None
        x, y = ask.candidate.values["x"], ask.candidate.values["y"]
        found.append((x * x + y, (x - 2) ** 2 + y))
        optimizer.tell(told_of(number, ask.candidate, a=found[-1][0], b=found[-1][1]))
    assert min(a for a, _ in found) < 0.1
    assert min(b for _, b in found) < 0.1
    assert any(a < 1.5 and b < 1.5 for a, b in found)


def test_what_earlier_runs_saw_makes_a_design_superfluous() -> None:
    earlier = tuple(searched(Beacon(), searching(FOUR, 40, 9), valley))
    fresh = searched(Beacon(), searching(FOUR, 8, 2), valley)
    warm = searched(Beacon(), searching(FOUR, 8, 2, earlier=earlier), valley)
    assert least(warm) < least(fresh)
    assert least(warm) < 2 * least(list(earlier))


def asked_next(rows_of_the_lucky: int) -> float:
    """Where it looks after one result of 1.0 at 0.1, on so many of 20 rows, and middling ones at five other places."""
    space = Space({"x": Float(0.0, 1.0, default=0.1)})
    early = tuple(space.complete({"x": 0.2 + 0.15 * i}) for i in range(6))
    context = SearchContext(space, 1, 30, (), None, 0, 20, early=early)
    optimizer = Beacon(initial=1)
    optimizer.start(context)
    for number in range(7):
        ask = optimizer.ask(0)
        assert ask is not None
        rows = range(20 if number else rows_of_the_lucky)
        scores = tuple(1.0 if not number else float(row % 2 == 0 or row < number) for row in rows)
        optimizer.tell(Told(number, ask.candidate, "validation", tuple(rows), scores, (None,) * len(rows), 0.0, None))
    ask = optimizer.ask(0)
    assert ask is not None
    x: float = ask.candidate.values["x"]
    return x


def test_a_lucky_look_at_one_row_does_not_lead_the_search_astray() -> None:
    assert asked_next(20) < 0.2
    assert asked_next(1) > 0.5


def test_an_ask_after_a_thousand_trials_is_quick() -> None:
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(20)})
    rng = random.Random(2)
    early = tuple(space.sample(rng) for _ in range(1000))
    optimizer, took = Beacon(), list[float]()
    optimizer.start(searching(space, 1100, early=early))
    for number in range(1012):
        start = time.perf_counter()
        ask = optimizer.ask(0)
        took.append(time.perf_counter() - start)
        assert ask is not None
        loss = math.fsum((ask.candidate.values[f"x{i}"] - 0.3) ** 2 for i in range(20))
        optimizer.tell(told_of(number, ask.candidate, loss=loss))
    assert statistics.median(took[1001:]) < 0.5  # 0.05 on a quiet machine; see benchmarks


def test_a_design_of_no_trials_is_refused() -> None:
    with pytest.raises(OptimizerError, match="initial must be at least 1"):
        Beacon(initial=0)
