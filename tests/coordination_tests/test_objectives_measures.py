"""What a sweep measures of a trial's rows, and the interval of its score."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives import (
    COST,
    LATENCY,
    PROMPT_TOKENS,
    RELIABILITY,
    SCORE,
    SURE_SCORE,
    TAIL_LATENCY,
    mean_interval,
    measures_of,
)


@dataclass(frozen=True)
class Row:
    score: float | None
    cost_usd: float = 0.0
    latency_s: float = 0.0
    error: str | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    metric_cost_usd: float = 0.0
    prompt_tokens: int | None = None


def test_means_are_over_the_rows() -> None:
    measures = measures_of([Row(1.0, 0.1, 2.0), Row(0.0, 0.3, 4.0, "ValueError: no"), Row(None, 0.2, 3.0)])
    assert measures["score"] == 0.5
    assert measures["cost_usd"] == pytest.approx(0.2)
    assert measures["latency_s"] == 3.0
    assert measures["reliability"] == pytest.approx(2 / 3)
    assert measures["score_low"] < 0.5 < measures["score_high"]


def test_what_a_judge_costs_is_no_cost_of_the_program() -> None:
    assert measures_of([Row(1.0, 0.5, metric_cost_usd=0.4), Row(1.0, 0.3)])["cost_usd"] == pytest.approx(0.2)


def test_the_95_percent_latency_is_one_that_19_of_20_rows_keep() -> None:
    rows = [Row(1.0, latency_s=float(second)) for second in range(1, 21)]
    assert measures_of(rows)["latency_p95_s"] == 19.0
    assert measures_of(rows[:1])["latency_p95_s"] == 1.0


def test_a_metrics_own_measure_is_the_mean_over_the_rows_that_have_it() -> None:
    rows = [Row(1.0, measures={"recall": 0.5}), Row(1.0, measures={"recall": 1.0, "length": 3.0}), Row(1.0)]
    measures = measures_of(rows)
    assert (measures["recall"], measures["length"]) == (0.75, 3.0)


def test_a_metrics_own_measure_cannot_take_a_standard_name() -> None:
    with pytest.raises(OptimizerError, match="'cost_usd'"):
        measures_of([Row(1.0, measures={"cost_usd": 0.5})])


def test_every_ready_objective_is_among_the_measures() -> None:
    rows = [Row(0.5, 0.1, 2.0, prompt_tokens=30), Row(0.75, 0.3, 4.0, "ValueError: no", prompt_tokens=50)]
    ready = (SCORE, SURE_SCORE, COST, LATENCY, TAIL_LATENCY, PROMPT_TOKENS, RELIABILITY)
    gains = [one.gain(measures_of(rows)) for one in ready]
    assert gains == [0.625, pytest.approx(0.5), pytest.approx(-0.2), -3.0, -4.0, -40.0, 0.5]


def test_a_trial_with_a_row_of_unknown_prompts_has_no_prompt_length() -> None:
    assert "prompt_tokens" not in measures_of([Row(1.0, prompt_tokens=30), Row(1.0)])


def test_a_high_score_on_few_rows_is_less_sure_than_a_little_lower_one_on_many() -> None:
    few, many = measures_of([Row(1.0)] * 3), measures_of([Row(1.0)] * 95 + [Row(0.0)] * 5)
    assert SCORE.gain(few) > SCORE.gain(many)
    assert SURE_SCORE.gain(few) < SURE_SCORE.gain(many)


def test_rows_without_a_score_give_no_score_and_no_rows_give_nothing() -> None:
    assert "score" not in measures_of([Row(None), Row(None)])
    assert measures_of([]) == {}


def test_the_order_of_the_rows_changes_no_measure() -> None:
    rng = random.Random(3)
    rows = [Row(rng.random(), rng.random(), rng.random(), measures={"recall": rng.random()}) for _ in range(50)]
    expected = measures_of(rows)
    for _ in range(5):
        rng.shuffle(rows)
        assert measures_of(rows) == expected


def test_wilsons_interval_is_that_of_the_tables() -> None:
    low, high = mean_interval([1.0] * 81 + [0.0] * 182)  # Newcombe 1998: 81 of 263
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert mean_interval([0.0] * 20)[0] == 0.0
    assert mean_interval([1.0] * 20)[1] == 1.0


@pytest.mark.parametrize("rows", [30, 300, 3000])
def test_an_interval_of_95_percent_holds_the_true_mean_about_19_times_in_20(rows: int) -> None:
    rng = random.Random(rows)
    hits = 0
    for _ in range(200):
        low, high = mean_interval([rng.betavariate(2, 3) for _ in range(rows)])
        hits += low <= 0.4 <= high
    assert 178 <= hits <= 198


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs values"):
        mean_interval([])
    with pytest.raises(ValueError, match="level"):
        mean_interval([1.0], level=1.0)
