"""Which of several results is the best: rows, bounds, objectives, number."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives import COST, LATENCY, SCORE, Bound, Leaders, Objective, best_of, measured, ranked
from dspex_coordination.objectives.comparison import dominates, gains, non_dominated, violation


@dataclass(frozen=True)
class Goals:
    objectives: tuple[Objective, ...] = (SCORE,)
    bounds: tuple[Bound, ...] = ()


@dataclass(frozen=True)
class Trial:
    number: int
    measures: Mapping[str, float] = field(default_factory=dict)
    rows: tuple[int, ...] = (0, 1, 2)


def scored(number: int, score: float, cost: float = 0.0, latency: float = 0.0, rows: int = 3) -> Trial:
    return Trial(number, {"score": score, "cost_usd": cost, "latency_s": latency}, tuple(range(rows)))


def numbers(trials: list[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def test_a_result_on_more_rows_beats_a_lucky_one_on_fewer() -> None:
    assert numbers(ranked([scored(0, 1.0, rows=1), scored(1, 0.2, rows=3)], Goals())) == [1, 0]


def test_a_result_within_the_bounds_beats_a_better_one_that_breaks_them() -> None:
    goals = Goals(bounds=(Bound("cost_usd", at_most=0.1),))
    assert numbers(ranked([scored(0, 0.9, cost=0.2), scored(1, 0.3, cost=0.1)], goals)) == [1, 0]


def test_of_results_that_break_bounds_the_one_nearest_to_keeping_them_is_first() -> None:
    goals = Goals(bounds=(Bound("cost_usd", at_most=0.1), Bound("latency_s", at_most=10.0)))
    dear = scored(0, 0.9, cost=0.2)  # by 100 % of its limit
    slow = scored(1, 0.9, latency=15.0)  # by 50 %
    assert numbers(ranked([dear, slow], goals)) == [1, 0]


def test_a_tie_goes_to_the_earlier_trial() -> None:
    assert best_of([scored(4, 0.5), scored(2, 0.5), scored(3, 0.5)], Goals()) == scored(2, 0.5)


def test_a_failed_trial_is_never_the_best() -> None:
    assert best_of([Trial(0), Trial(1)], Goals()) is None
    assert ranked([Trial(0), scored(1, 0.0)], Goals()) == [scored(1, 0.0)]


def test_a_missing_measure_is_named_with_near_matches() -> None:
    with pytest.raises(OptimizerError, match="'cost_usd'"):
        best_of([scored(0, 1.0)], Goals((Objective("cost_us", "minimize"),)))
    assert not measured(scored(0, 1.0), Goals(bounds=(Bound("recall", at_least=0.5),)))
    assert measured(scored(0, 1.0), Goals((SCORE, COST, LATENCY)))


def test_a_limit_of_zero_measures_what_it_is_missed_by_as_it_is() -> None:
    assert violation({"drop": 0.25}, [Bound("drop", at_most=0.0)]) == 0.25
    assert violation({"drop": 1.0, "score": 0.25}, [Bound("score", at_least=0.5, at_most=4.0)]) == 0.5
    assert violation({"drop": 1.0}, [Bound("drop", at_least=0.5, at_most=1.0)]) == 0.0


def test_objectives_weigh_by_their_weights_and_not_by_their_units() -> None:
    cheap_and_bad, dear_and_good = scored(0, 0.50, latency=10.0), scored(1, 0.90, latency=4000.0)
    balanced = scored(2, 0.85, latency=500.0)
    goals = Goals((SCORE, LATENCY))
    assert numbers(ranked([cheap_and_bad, dear_and_good, balanced], goals))[0] == 2
    quality = Goals((Objective("score", weight=20.0), LATENCY))
    assert best_of([cheap_and_bad, dear_and_good, balanced], quality) == dear_and_good


def test_leaders_keep_the_front_alone() -> None:
    leaders: Leaders[Trial] = Leaders(Goals((SCORE, COST)))
    for trial in (scored(0, 0.5, 0.5), scored(1, 0.4, 0.6), scored(2, 0.9, 0.9), scored(3, 0.9, 0.9)):
        leaders.add(trial)
    assert numbers(leaders.front) == [0, 2]
    leaders.add(scored(4, 1.0, 0.1))
    assert numbers(leaders.front) == [4]
    assert leaders.best == scored(4, 1.0, 0.1)


TRIALS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=12
)


@given(TRIALS, st.randoms(use_true_random=False))
def test_the_best_depends_on_the_results_and_not_on_their_order(
    raw: list[tuple[int, int, int, int]], rng: random.Random
) -> None:
    trials = [scored(n, s / 4, c / 4, t / 2, rows) for n, (s, c, t, rows) in enumerate(raw)]
    goals = Goals((SCORE, COST, LATENCY), (Bound("cost_usd", at_most=0.5),))
    first = ranked(trials, goals)
    shuffled = list(trials)
    rng.shuffle(shuffled)
    assert ranked(shuffled, goals) == first
    assert best_of(shuffled, goals) == first[0]


@given(TRIALS)
def test_the_best_is_dominated_by_none_of_its_standing(raw: list[tuple[int, int, int, int]]) -> None:
    trials = [scored(n, s / 4, c / 4, t / 2) for n, (s, c, t, _) in enumerate(raw)]
    goals = Goals((SCORE, COST, LATENCY))
    points = [gains(trial.measures, goals.objectives) for trial in trials]
    best = best_of(trials, goals)
    assert best is not None
    mine = gains(best.measures, goals.objectives)
    assert not any(dominates(point, mine) for point in points)
    assert mine in non_dominated(points)
