"""The sequential tests are wrong no more often than they say, however often one looks, and do find what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dspex_ray.errors import UsageError
from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.experiments.sequential import mean_difference, rate_difference, rate_evidence, sample_ratio

LOOKS = [int(look) for look in np.unique(np.geomspace(4, 1500, 25).astype(int))]


@pytest.mark.parametrize("rate", [0.02, 0.4, 0.9])
def test_equal_rates_are_called_different_in_at_most_the_stated_share_of_experiments(rate: float) -> None:
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(400):
        first, second = (np.cumsum(rng.random(1500) < rate) for _ in range(2))
        looks = ((Counts(int(first[n - 1]), n), Counts(int(second[n - 1]), n)) for n in LOOKS)
        wrong += any(rate_evidence(*look) > math.log(10) for look in looks)
    assert wrong / 400 <= 0.1


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_equal_means_are_called_different_in_at_most_the_stated_share_of_experiments(kind: str) -> None:
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(300):
        first, second = (rng.normal(3, 1, 2000) if kind == "normal" else rng.lognormal(0, 1, 2000) for _ in range(2))
        wrong += any(mean_difference(taken(first, n), taken(second, n)).is_sure for n in range(30, 2000, 40))
    assert wrong / 300 <= 0.06  # 0.05, and what 300 experiments can tell


@pytest.mark.parametrize("kind", ["rare failures", "long tail"])
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_small_arm_is_called_different_no_more_often_before_it_met_its_rare_values(kind: str, share: float) -> None:
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(150):
        values = rng.lognormal(0, 1.5, 4000) if kind == "long tail" else (rng.random(4000) < 0.98).astype(float)
        is_small = rng.random(4000) < share
        arms = [(values[is_in], np.cumsum(is_in)) for is_in in (~is_small, is_small)]
        looks = ([taken(part, int(counts[n - 1])) for part, counts in arms] for n in range(400, 4000, 90))
        wrong += any(mean_difference(*look).is_sure for look in looks)
    assert wrong / 150 <= 0.05


def test_shares_as_planned_raise_the_alarm_in_at_most_the_stated_share_of_experiments() -> None:
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        first = np.cumsum(rng.random(1000) < 0.3)
        looks = ({"a": int(first[n - 1]), "b": n - int(first[n - 1])} for n in range(1, 1000, 9))
        wrong += any(sample_ratio(counts, {"a": 0.3, "b": 0.7}) > math.log(20) for counts in looks)
    assert wrong / 200 <= 0.05


def test_a_real_difference_is_found_and_its_interval_holds_it() -> None:
    rates = rate_difference(Counts(700, 1000), Counts(800, 1000))
    assert rates.is_sure
    assert rates.low < 0.1 < rates.high
    assert rates.log_e is not None
    assert rates.log_e > math.log(20)
    means = mean_difference(Moments(1000, 1.0, 999.0), Moments(1000, 1.3, 999.0))
    assert means.is_sure
    assert means.low < 0.3 < means.high


def test_shares_that_are_off_raise_the_alarm() -> None:
    assert sample_ratio({"a": 5300, "b": 4700}, {"a": 0.5, "b": 0.5}) > math.log(1000)
    assert sample_ratio({"a": 5020, "b": 4980}, {"a": 1.0, "b": 1.0}) < 0
    with pytest.raises(UsageError, match="cannot have been assigned: c"):
        sample_ratio({"a": 1, "c": 1}, {"a": 1.0})


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_the_interval_of_rates_holds_the_estimate_and_turns_with_the_arms(a: int, b: int, c: int, d: int) -> None:
    first, second = Counts(a, a + b), Counts(c, c + d)
    found, turned = rate_difference(first, second), rate_difference(second, first)
    assert -1 <= found.low <= found.high <= 1
    assert found.is_sure == (found.log_e is not None and found.log_e > math.log(20))
    if first.trials and second.trials:
        assert found.low <= found.estimate <= found.high
        assert found.low == pytest.approx(-turned.high, abs=1e-4)


@given(st.lists(st.floats(-1e6, 1e6), max_size=20), st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_moments_of_two_parts_add_up_to_those_of_the_whole(first: list[float], second: list[float]) -> None:
    added, whole = Moments.of(first) + Moments.of(second), Moments.of([*first, *second])
    assert added.count == whole.count
    assert added.mean == pytest.approx(whole.mean, abs=1e-6)
    assert added.variance == pytest.approx(whole.variance, rel=1e-6, abs=1e-3)


def test_little_or_no_evidence_gives_an_interval_that_says_so() -> None:
    nothing = rate_difference(Counts(), Counts(3, 4))
    assert (nothing.low, nothing.high) == (-1.0, 1.0)
    few = mean_difference(Moments.of([1.0] * 10), Moments.of([2.0] * 500))
    assert (few.low, few.high) == (-math.inf, math.inf)
    assert not few.is_sure


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_a_level_that_cannot_be_is_refused(alpha: float) -> None:
    with pytest.raises(UsageError, match="alpha is between 0 and 1"):
        rate_difference(Counts(1, 2), Counts(1, 2), alpha=alpha)


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="5 of 4"):
        Counts(5, 4)
    with pytest.raises(UsageError, match="finite"):
        Moments.of([1.0, math.inf])
    with pytest.raises(UsageError, match="tuned_for"):
        mean_difference(Moments(), Moments(), tuned_for=0)


def taken(values: NDArray[np.float64], count: int) -> Moments:
    part = values[:count]
    return Moments(count, float(part.mean()), float(part.var() * count)) if count else Moments()
