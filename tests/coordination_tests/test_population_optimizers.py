"""What is special to genetic and population-based search."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from optimizer_contract import context_of

from dspex_coordination import Bool, Candidate, Choice, Float, Int, OptimizerError, Space, Told, make_optimizer
from dspex_coordination.conditions import V
from dspex_coordination.optimizers import Genetic, Optimizer, Population, SearchContext
from dspex_coordination.optimizers.pool import Pool

SQUARE = Space({"x": Float(-5, 5, default=4), "y": Float(-5, 5, default=-4), "kind": Choice(["a", "b", "c"])})


def told(number: int, candidate: Candidate, score: float, rows: int = 1) -> Told:
    return Told(number, candidate, "validation", tuple(range(rows)), (score,) * rows, (None,) * rows, 0.0, None)


def worth(values: Any) -> float:
    return -((values["x"] - 1) ** 2) - (values["y"] - 2) ** 2 - (values["kind"] != "b")


def searched(optimizer: Optimizer, context: SearchContext, score: Callable[[Any], float] = worth) -> list[Candidate]:
    optimizer.start(context)
    asked: list[Candidate] = []
    while (ask := optimizer.ask(0)) is not None:
        optimizer.tell(told(len(asked), ask.candidate, score(ask.candidate.values)))
        asked.append(ask.candidate)
    return asked


def found(name: str, seed: int, trials: int = 80) -> float:
    context = context_of(SQUARE, trials=trials, seed=seed, rows=1)
    optimizer = make_optimizer(name, seed=seed, max_trials=trials)
    searched(optimizer, context)
    best = optimizer.best()
    assert best is not None
    assert best.mean is not None
    return best.mean


@pytest.mark.parametrize("name", ["genetic", "population"])
def test_breeding_finds_better_candidates_than_random_search(name: str) -> None:
    ours = statistics.median(found(name, seed) for seed in range(9))
    random_search = statistics.median(found("random", seed) for seed in range(9))
    assert ours > random_search / 3  # both are negative: a third of the distance to the optimum


@pytest.mark.parametrize("name", ["genetic", "population"])
def test_noise_on_the_scores_does_not_lead_the_search_astray(name: str) -> None:
    def noisy(values: Any) -> float:
        return worth(values) + 0.5 * math.sin(1e6 * values["x"])

    near = []
    for seed in range(7):
        optimizer = make_optimizer(name, seed=seed, max_trials=80)
        searched(optimizer, context_of(SQUARE, trials=80, seed=seed, rows=1), noisy)
        best = optimizer.best()
        assert best is not None
        near.append(worth(best.candidate.values))
    assert statistics.median(near) > -1.0


def test_patience_ends_a_search_that_no_longer_improves() -> None:
    context = context_of(SQUARE, trials=500, rows=1)
    optimizer = Genetic(population=5, patience=2)
    asked = searched(optimizer, context, lambda _: 1.0)
    assert len(asked) == 1 + 2 * 5
    assert optimizer.done


def test_patience_waits_for_a_pending_trial_that_may_be_better() -> None:
    context = context_of(SQUARE, trials=500, rows=1)
    optimizer = Genetic(population=2, patience=2)
    optimizer.start(context)
    asks = [optimizer.ask(pending) for pending in range(6)]
    for number, ask in enumerate(asks[:5]):
        assert ask is not None
        optimizer.tell(told(number, ask.candidate, 1.0))
    assert optimizer.ask(1) is None
    assert not optimizer.done
    last = asks[5]
    assert last is not None
    optimizer.tell(told(5, last.candidate, 2.0))
    assert optimizer.ask(0) is not None


def test_a_child_takes_what_one_parent_uses_from_that_parent() -> None:
    space = Space(
        {"deep": Bool(), "depth": Int(1, 1000, default=1, when=V("deep") == True)}  # noqa: E712 - a condition
    )
    optimizer = Genetic(founders=1, population=2, tournament=1)
    optimizer.start(context_of(space, trials=100, rows=1, early=(Candidate({"deep": True, "depth": 900}),)))
    for number in range(2):
        ask = optimizer.ask(0)
        assert ask is not None
        optimizer.tell(told(number, ask.candidate, 1.0))
    children = [ask.candidate.values for ask in (optimizer.ask(pending) for pending in range(60)) if ask is not None]
    depths = [child["depth"] for child in children if child["deep"]]
    assert len(depths) > 10
    assert statistics.median(depths) > 500  # that of the deep parent, not the default of the one without a depth
    assert depths.count(1) <= 1


def test_the_pool_keeps_the_fittest_and_the_latest_of_a_candidate() -> None:
    pool = Pool("test", context_of(SQUARE), size=2)
    candidates = [Candidate({"x": float(i), "y": 0.0, "kind": "a"}) for i in range(4)]
    for number, score in enumerate([0.1, 0.9, 0.5, 0.2]):
        pool.add(told(number, candidates[number], score))
    assert [entry.number for entry in pool.entries] == [1, 2]
    pool.add(told(4, candidates[1], 0.3))
    assert [(entry.number, entry.gain) for entry in pool.entries] == [(2, 0.5), (4, 0.3)]


def test_a_lucky_look_at_few_rows_does_not_beat_a_long_one() -> None:
    pool = Pool("test", context_of(SQUARE), size=3)
    candidates = [Candidate({"x": float(i), "y": 0.0, "kind": "a"}) for i in range(3)]
    pool.add(told(0, candidates[0], 0.8, rows=8))
    pool.add(told(1, candidates[1], 0.2, rows=8))
    pool.add(told(2, candidates[2], 0.9, rows=1))
    assert [entry.number for entry in pool.entries] == [0, 2, 1]


def test_earlier_results_are_bred_from() -> None:
    past = tuple(
        told(number, Candidate({"x": 1.0 + number / 50, "y": 2.0, "kind": "b"}), 1.0 - number / 50)
        for number in range(12)
    )
    optimizer = Genetic()
    asked = searched(optimizer, context_of(SQUARE, trials=6, rows=1, earlier=past))
    near = [candidate for candidate in asked[1:] if abs(candidate.values["x"] - 1.1) < 1]
    assert len(near) >= 3


def test_a_member_in_the_worst_part_copies_from_the_best_part() -> None:
    optimizer = Population(members=4, quantile=0.25, strength=0.01)
    optimizer.start(context_of(SQUARE, trials=40, rows=1))
    founders = []
    for number, score in enumerate([0.1, 0.5, 0.6, 0.9]):
        ask = optimizer.ask(0)
        assert ask is not None
        founders.append(ask.candidate)
        optimizer.tell(told(number, ask.candidate, score))
    copied = optimizer.ask(0)
    assert copied is not None
    same = [copied.candidate.values[name] == founders[3].values[name] for name in ("x", "y", "kind")]
    assert any(same)
    kept = optimizer.ask(1)
    assert kept is not None
    assert any(kept.candidate.values[name] == founders[1].values[name] for name in ("x", "y"))


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (
            lambda: Genetic(population=1, founders=0),
            "population must be at least 2, got 1; founders must be at least 1",
        ),
        (lambda: Genetic(patience=0), "patience must be at least 1"),
        (lambda: Population(members=1), "members must be at least 2"),
        (lambda: Population(quantile=0.7), "quantile above 0 and at most 0.5"),
        (lambda: Population(strength=0.0), "strength above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(made: Callable[[], Optimizer], match: str) -> None:
    with pytest.raises(OptimizerError, match=match):
        made()
