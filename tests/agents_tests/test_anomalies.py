"""What is unusual, as a table."""

from __future__ import annotations

import pytest

from dspex_agents.errors import SpecError
from dspex_agents.monitoring.anomalies import AnomalyWatch, Trend, trend


def watch_of(figure: str, values: list[float | None], sigmas: float = 3.0) -> list[int]:
    """Return at which of the values something unusual was seen."""
    watch = AnomalyWatch(sigmas)
    return [n for n, value in enumerate(values) if watch.observe({figure: value}, float(n))]


@pytest.mark.parametrize(
    ("figure", "values", "unusual"),
    [
        ("memory_usage", [40.0, 42.0] * 5 + [60.0], [10]),
        ("memory_usage", [40.0, 42.0] * 4 + [60.0], []),  # nine values are too few to know what is usual
        ("memory_usage", [40.0, 42.0] * 10 + [44.0], []),  # three deviations are allowed
        ("memory_usage", [40.0, 40.001] * 10 + [40.1], []),  # far from the mean in deviations, but a trifle
        ("agents", [10.0] * 20 + [9.0], [20]),
        ("agents", [10.0] * 20 + [10.0], []),
        ("agents", [10.0] * 20 + [200.0], [20]),
        ("error_rate", [0.0] * 10 + [0.5], []),
        ("error_rate", [0.0] * 10 + [20.0], [10]),
        ("error_rate", [None] * 10 + [20.0], []),  # not known is not 0
        ("cpu_usage", [0.0] * 20 + [100.0], []),  # a CPU that is suddenly busy has just been given work
    ],
)
def test_a_value_far_from_those_before_it_is_unusual(
    figure: str, values: list[float | None], unusual: list[int]
) -> None:
    assert watch_of(figure, values) == unusual


def test_a_value_is_held_against_those_before_it_and_not_against_itself() -> None:
    watch = AnomalyWatch()
    for n in range(10):
        watch.observe({"memory_usage": 40.0 + n % 2}, float(n))
    (found,) = watch.observe({"memory_usage": 90.0}, 10.0)
    assert (found.value, found.mean, found.deviation, found.bound) == (90.0, 40.5, 0.5, 42.0)
    assert str(found) == "memory_usage is 90.0, usually 40.5, give or take 0.5"


def test_what_stays_is_usual_in_the_end() -> None:
    seen = watch_of("memory_usage", [40.0, 42.0] * 20 + [80.0, 82.0] * 60)
    assert seen[0] == 40
    assert seen[-1] < 60


@pytest.mark.parametrize(
    ("values", "way"),
    [
        ([], "unknown"),
        ([1.0], "unknown"),
        ([None, None, None], "unknown"),
        ([100, 100, 100, 100, 100], "steady"),
        ([100, 100, 105, 110, 110], "steady"),  # 10 % is allowed
        ([100, 100, 105, 112, 112], "rising"),
        ([100, 100, 95, 88, 88], "falling"),
        ([100, 100, 1000, 100, 100], "steady"),  # the middle one is neither before nor after
        ([0, 0, 0, 1, 1], "rising"),
        ([0, 0, 0, 0, 0], "steady"),
        ([-100, -100, -100, -50, -50], "rising"),
        ([None, 100, 200], "rising"),
    ],
)
def test_a_trend_compares_the_later_half_with_the_earlier_one(values: list[float | None], way: Trend) -> None:
    assert trend(values) == way


def test_a_small_difference_is_no_trend_however_small_the_values_are() -> None:
    assert trend([0.1, 0.1, 0.4, 0.4], floor=1.0) == "steady"
    assert trend([0.1, 0.1, 1.4, 1.4], floor=1.0) == "rising"


def test_without_a_tolerance_every_difference_counts() -> None:
    assert trend([100, 101], tolerance=0.0) == "rising"
    assert trend([100, 100], tolerance=0.0) == "steady"


@pytest.mark.parametrize("options", [{"tolerance": -0.1}, {"floor": -1.0}])
def test_a_negative_tolerance_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="must not be negative"):
        trend([1, 2], **options)
