from __future__ import annotations

import numpy as np
import pytest

from dspex_ray.errors import UsageError
from dspex_ray.intervals import bootstrap, interval, paired_difference, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # figures of R's prop.test(..., correct = FALSE)
    [(8, 10, 0.490162, 0.943318), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (50, 100, 0.403832, 0.596168)],
)
def test_wilsons_interval_has_the_textbook_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=1e-5)


def test_scores_of_0_and_1_use_wilson_and_others_a_bootstrap() -> None:
    assert interval([1, 1, 0, 1]) == wilson(3, 4)
    scores = [0.1, 0.5, 0.9, 0.4]
    assert interval(scores) == bootstrap(scores)


def test_the_bootstrap_is_seeded_and_covers_the_mean() -> None:
    scores = list(np.random.default_rng(1).uniform(size=400))
    low, high = bootstrap(scores, seed=3)
    assert (low, high) == bootstrap(scores, seed=3)
    assert low < np.mean(scores) < high
    assert high - low == pytest.approx(2 * 1.96 * np.std(scores) / 20, rel=0.15)


def test_the_paired_difference_has_its_sign_and_shrinks_with_agreement() -> None:
    first, second = [0.0] * 30 + [1.0] * 70, [1.0] * 30 + [1.0] * 70
    mean, low, high = paired_difference(first, second)
    assert mean == pytest.approx(0.3)
    assert 0 < low < mean < high < 1
    assert paired_difference(second, first)[0] == pytest.approx(-0.3)
    same, low, high = paired_difference(first, first)
    assert same == 0
    assert low < 0 < high


def test_the_paired_difference_of_graded_scores_is_a_bootstrap_of_the_differences() -> None:
    first = [0.1, 0.2, 0.3, 0.4]
    mean, low, high = paired_difference(first, [value + 0.25 for value in first])
    assert (mean, low, high) == pytest.approx((0.25, 0.25, 0.25))


def test_impossible_figures_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one score"):
        interval([])
    with pytest.raises(UsageError, match="finite"):
        interval([float("nan")])
    with pytest.raises(UsageError, match="these have 1 and 2"):
        paired_difference([1.0], [1.0, 0.0])
    with pytest.raises(UsageError, match="got 3 of 2"):
        wilson(3, 2)
