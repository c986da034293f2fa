"""Picks from a front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives import COST, LATENCY, SCORE, Objective, knee, near_best, pick, weighted, within


@dataclass(frozen=True)
class Trial:
    number: int
    measures: Mapping[str, float]
    rows: tuple[int, ...] = (0, 1)


def scored(number: int, score: float, cost: float, latency: float = 1.0) -> Trial:
    return Trial(number, {"score": score, "cost_usd": cost, "latency_s": latency})


CHEAP, MIDDLE, GOOD = scored(0, 0.50, 0.0001, 3.0), scored(1, 0.80, 0.0004, 2.0), scored(2, 0.86, 0.0100, 1.0)
FRONT = [CHEAP, MIDDLE, GOOD]


def test_preferences_pick_the_ends_and_the_middle() -> None:
    front = [scored(0, 0.5, 0.0, 2.0), scored(1, 0.7, 0.4, 3.0), scored(2, 0.9, 1.0, 1.0)]
    picked = {name: pick(front, (SCORE, COST), name).number for name in ("quality", "balanced", "cheap")}
    assert picked == {"quality": 2, "balanced": 1, "cheap": 0}
    assert pick(front, (SCORE, COST, LATENCY), "fast").number == 2


def test_a_preference_without_its_measure_says_which_it_needs() -> None:
    with pytest.raises(OptimizerError, match="'cost_usd'"):
        pick(FRONT, (SCORE, LATENCY), "cheap")
    with pytest.raises(OptimizerError, match="'quality'"):
        pick(FRONT, (SCORE,), "qualty")
    with pytest.raises(OptimizerError, match="no trial has a score"):
        pick([], (SCORE,))


def test_the_weights_of_a_preference_sum_to_one() -> None:
    own = Objective("length", "minimize", weight=9.0)
    for preference in ("quality", "balanced", "cheap", "fast"):
        weights = [objective.weight for objective in weighted((SCORE, COST, LATENCY, own), preference)]
        assert sum(weights) == pytest.approx(1.0)
    assert [objective.weight for objective in weighted((SCORE, COST), "quality")] == pytest.approx([0.7, 0.3])
    assert [objective.weight for objective in weighted((SCORE,), "quality")] == [1.0]


def test_the_knee_is_farthest_from_the_line_between_the_ends() -> None:
    assert knee(FRONT, (SCORE, COST)) == MIDDLE
    straight = [scored(n, n / 4, n / 4) for n in range(5)]
    assert knee(straight, (SCORE, COST)).number == 0
    bulge = [*straight, scored(5, 0.6, 0.5)]
    assert knee(bulge, (SCORE, COST)).number == 5


def test_the_knee_of_three_objectives_bulges_over_the_plane_of_the_best() -> None:
    ends = [scored(0, 1.0, 1.0, 1.0), scored(1, 0.0, 0.0, 1.0), scored(2, 0.0, 1.0, 0.0)]
    assert knee([*ends, scored(3, 0.3, 0.7, 0.7), scored(4, 0.6, 0.4, 0.4)], (SCORE, COST, LATENCY)).number == 4


def test_a_front_of_one_or_of_equals_has_a_knee() -> None:
    assert knee([GOOD], (SCORE, COST)) == GOOD
    assert knee([scored(3, 0.5, 0.5), scored(1, 0.5, 0.5)], (SCORE, COST)).number == 1
    with pytest.raises(OptimizerError, match="no trial has a score"):
        knee([Trial(0, {})], (SCORE,))


def test_limits_are_kept_and_the_best_of_the_rest_is_picked() -> None:
    assert within(FRONT, {"cost_per_1k": 0.40}) == MIDDLE
    assert within(FRONT, {"cost_usd": 0.02, "latency_s": 1.5}) == GOOD
    assert within(FRONT, {"latency_s": 2.5}, COST) == MIDDLE


def test_limits_that_none_keeps_name_the_nearest_result() -> None:
    with pytest.raises(OptimizerError, match=r"the nearest is trial 0 with cost_usd 0\.0001 of 5e-05"):
        within(FRONT, {"cost_per_1k": 0.05})


def test_near_the_best_score_the_cheapest_is_picked() -> None:
    assert near_best(FRONT, (SCORE, COST), tolerance=0.06) == MIDDLE
    assert near_best(FRONT, (SCORE, COST), tolerance=0.05) == GOOD
    assert near_best(FRONT, (SCORE,), tolerance=0.5) == GOOD
    with pytest.raises(OptimizerError, match="tolerance"):
        near_best(FRONT, (SCORE, COST), tolerance=-0.1)
