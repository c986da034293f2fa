"""When a served version is checked and optimised again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import UsageError
from dspex_ray.versions.drift import Drift, DriftPolicy, next_step

HOUR = 3600.0
POLICY = DriftPolicy()
FRESH = Drift(optimized_at=0.0)


def step(known: Drift, hours: float) -> tuple[str, float]:
    found = next_step(known, POLICY, hours * HOUR)
    return found.action, found.at / HOUR


def test_quality_is_checked_every_six_hours() -> None:
    assert step(FRESH, 1) == ("wait", 6)
    assert step(FRESH, 6) == ("check", 6)
    assert step(FRESH.checked(0.9, 0.95, 6 * HOUR), 7) == ("wait", 12)


def test_a_score_below_the_threshold_is_optimised_at_once_and_again_after_half_an_hour() -> None:
    low = FRESH.checked(0.69, 0.8, 6 * HOUR)
    assert step(low, 6) == ("optimize", 6)
    assert step(low.failed(6 * HOUR), 6.25) == ("wait", 6.5)
    assert step(low.failed(6 * HOUR), 6.5) == ("optimize", 6.5)
    assert step(low.optimized(7 * HOUR), 8) == ("wait", 13)


def test_a_decline_is_optimised_after_twelve_hours_and_noise_is_none() -> None:
    def checked(score: float, high: float) -> Drift:
        return FRESH.checked(0.95, 0.97, 6 * HOUR).checked(score, high, 10 * HOUR)

    assert step(checked(0.85, 0.9), 11) == ("wait", 12)
    assert step(checked(0.85, 0.9), 12) == ("optimize", 12)
    assert step(checked(0.93, 0.96), 12) == ("wait", 16)


def test_a_day_without_an_optimisation_is_too_long() -> None:
    well = FRESH.checked(0.9, 0.95, 23 * HOUR)
    assert step(well, 23.5) == ("wait", 24)
    assert step(well, 24) == ("optimize", 24)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=8),
    st.floats(0, 100),
)
def test_whoever_waits_as_told_is_told_something_later_and_never_waits_in_the_past(
    events: list[tuple[float, bool]], hours: float
) -> None:
    known = FRESH
    for at, (score, fails) in enumerate(events):
        known = known.checked(score, min(1.0, score + 0.1), at * HOUR)
        known = known.failed(at * HOUR) if fails else known
    known = Drift.from_json(json.loads(json.dumps(known.to_json())))
    now = hours * HOUR + len(events) * HOUR
    found = next_step(known, POLICY, now)
    if found.action == "wait":
        assert found.at > now
        assert next_step(known, POLICY, found.at).action != "wait"
    assert len(known.earlier) <= 5


def test_times_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="above 0 seconds"):
        DriftPolicy(check_every_s=0)
