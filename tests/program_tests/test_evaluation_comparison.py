"""Two evaluations on the same rows, and the intervals of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from dspex_ray.comparison import compare, sign_test
from dspex_ray.errors import UsageError
from dspex_ray.evaluation import Evaluation, RowScore, summarize
from dspex_ray.intervals import bootstrap, interval, interval_method


def _evaluation(scores: list[float], *, metric: str = "Exact", cost: float = 0.0, start: int = 0) -> Evaluation:
    rows = [
        RowScore(row=i, example_id=f"e{i + start}", score=score, cost_usd=cost, latency_s=0.5)
        for i, score in enumerate(scores)
    ]
    return summarize(rows, 1.0, metric=metric)


def test_the_better_program_wins_with_an_interval_and_a_test() -> None:
    first, second = [0.0] * 30 + [1.0] * 70, [1.0] * 25 + [0.0] * 5 + [1.0] * 68 + [0.0] * 2
    found = compare(_evaluation(first), _evaluation(second, cost=0.25))
    assert (found.first, found.second, found.rows) == (0.7, 0.93, 100)
    assert (found.better, found.worse, found.equal) == (25, 2, 73)
    assert found.low < found.difference < found.high
    assert found.low > 0
    assert (found.test, found.interval_method, found.winner) == ("exact McNemar test", "Agresti-Min", "second")
    assert (found.cost_difference, found.cost_low, found.cost_high) == (0.25, 0.25, 0.25)
    assert (found.latency_difference, found.latency_low, found.latency_high) == (0, 0, 0)
    assert compare(_evaluation(second), _evaluation(first)).winner == "first"


def test_equal_programs_have_no_winner() -> None:
    found = compare(_evaluation([1, 0, 1, 1]), _evaluation([1, 1, 1, 0]))
    assert (found.difference, found.p_value, found.winner) == (0, 1.0, None)
    assert found.low < 0 < found.high


def test_graded_scores_are_compared_by_a_paired_bootstrap() -> None:
    rng = np.random.default_rng(3)
    base = rng.uniform(0, 0.8, size=60)
    better = list(base + rng.uniform(0, 0.2, size=60))
    found = compare(_evaluation(list(base)), _evaluation(better))
    assert (found.interval_method, found.test) == ("paired BCa bootstrap", "exact sign test")
    assert 0.05 < found.low < found.difference < found.high < 0.15
    assert found == compare(_evaluation(list(base)), _evaluation(better))


def test_pairing_sees_a_difference_that_two_separate_intervals_hide() -> None:
    base = [i / 100 for i in range(90)]
    one, two = _evaluation(base), _evaluation([score + 0.02 for score in base])
    assert one.high > two.low
    assert compare(one, two).winner == "second"


def test_rows_are_paired_whatever_their_order() -> None:
    one = _evaluation([0.0, 0.25, 1.0])
    turned = summarize(one.scores[::-1], 1.0, metric="Exact")
    assert compare(one, turned).equal == 3


def test_other_rows_or_another_metric_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="have 3 and 3 rows, 1 of them in common"):
        compare(_evaluation([1, 0, 1]), _evaluation([1, 0, 1], start=2))
    assert compare(_evaluation([1, 0, 1]), _evaluation([1, 0, 1], start=2), by="row").rows == 3
    with pytest.raises(UsageError, match="'Exact' and 'F1'"):
        compare(_evaluation([1]), _evaluation([1], metric="F1"))


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_sign_test_is_scipys(better: int, worse: int) -> None:
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert sign_test(better, worse) == pytest.approx(expected, rel=1e-9)


def test_the_sign_test_of_many_rows_stays_a_number() -> None:
    assert 0 < sign_test(5000, 5200) < 0.1
    assert sign_test(20_000, 0) == 0.0


def _skewed() -> list[float]:
    return [float(x) for x in np.random.default_rng(5).exponential(0.1, size=80).clip(0, 1)]


def test_the_bca_interval_is_scipys() -> None:
    scores = _skewed()
    theirs = stats.bootstrap(
        (scores,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap(scores) == pytest.approx((theirs.low, theirs.high), abs=0.002)


def test_the_bca_interval_leans_towards_the_long_tail() -> None:
    scores = _skewed()
    bca, plain = bootstrap(scores), bootstrap(scores, method="percentile")
    assert bca[0] > plain[0]
    assert bca[1] > plain[1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_lies_within_the_scores_and_says_how_it_was_made(scores: list[float]) -> None:
    low, high = interval(scores)
    if interval_method(scores) == "Wilson":
        assert set(scores) <= {0.0, 1.0}
        assert 0 <= low < high <= 1
    else:
        assert min(scores) - 1e-9 <= low <= high <= max(scores) + 1e-9


def test_the_bootstraps_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(200):
        low, high = bootstrap(rng.beta(2, 5, size=60))
        covered += low <= 2 / 7 <= high
    assert 178 <= covered <= 199


def test_an_evaluation_states_its_interval(route: Any) -> None:
    assert _evaluation([1, 0]).interval_method == "Wilson"
    assert _evaluation([0.5, 0]).interval_method == "BCa bootstrap"
