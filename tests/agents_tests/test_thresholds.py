"""Thresholds and the settings beside them: each with its unit and its bound, all bad ones named at once."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dspex_agents.errors import SpecError
from dspex_agents.monitoring.agent_performance import PerformanceLimits
from dspex_agents.monitoring.alert_book import AlertRules
from dspex_agents.monitoring.roster import Roster
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.monitoring.thresholds import Thresholds
from dspex_agents.monitoring.vital_signs import VitalLimits


@pytest.mark.parametrize("field", ["cpu_usage", "memory_usage", "disk_usage", "error_rate", "mailbox_fill"])
@pytest.mark.parametrize("bad", [0, -1, 100.1, math.nan, math.inf, "80", True, None])
def test_a_percentage_is_above_0_and_at_most_100(field: str, bad: Any) -> None:
    with pytest.raises(SpecError, match=f"{field} must be a percentage above 0 and at most 100, got"):
        Thresholds(**{field: bad})
    assert getattr(Thresholds(**{field: 100}), field) == 100


@pytest.mark.parametrize("field", ["process_memory", "agent_failures", "queue_growth", "min_handled"])
@pytest.mark.parametrize("bad", [0, -1, 1.5, math.nan, "3", True, None])
def test_a_count_is_whole_and_at_least_1(field: str, bad: Any) -> None:
    with pytest.raises(SpecError, match=f"{field} must be a whole number, at least 1, got"):
        Thresholds(**{field: bad})
    assert getattr(Thresholds(**{field: 1}), field) == 1


@pytest.mark.parametrize("bad", [0, -5, math.nan, math.inf, "1000", True])
def test_a_response_time_is_a_number_of_milliseconds(bad: Any) -> None:
    with pytest.raises(SpecError, match="response_time must be a number of milliseconds above 0, got"):
        Thresholds(response_time=bad)


def test_every_bad_field_is_named_at_once_with_a_near_name_for_an_unknown_one() -> None:
    with pytest.raises(SpecError) as caught:
        Thresholds().changed({"cpu_usage": 120, "agent_failures": 0, "respons_time": 5, "zzz": 1, "disk_usage": 50})
    text = str(caught.value)
    assert "'respons_time' is none of them, did you mean 'response_time'?" in text
    assert "'zzz' is none of them;" in text
    assert "cpu_usage must be" in text
    assert "agent_failures must be" in text
    assert "disk_usage" not in text


def test_a_change_leaves_the_other_fields_and_the_old_thresholds_as_they_are() -> None:
    before = Thresholds(error_rate=7.0)
    after = before.changed({"response_time": 20_000.0})
    assert (after.error_rate, after.response_time, before.response_time) == (7.0, 20_000.0, 1000.0)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        (Sampling, {"interval_s": 0}, "interval_s must be above 0"),
        (Sampling, {"timeout_s": math.nan}, "timeout_s must be above 0"),
        (Sampling, {"retention": 9}, "retention must be from 10 to 100000 samples"),
        (Sampling, {"retention": 100_001}, "retention must be from 10 to 100000 samples"),
        (Roster, {"window_s": 0}, "window_s must be a number of seconds above 0"),
        (AlertRules, {"clear_after": 0}, "clear_after must be at least 1"),
        (AlertRules, {"history": 0}, "history must be at least 1"),
        (AlertRules, {"max_open": 0}, "max_open must be at least 1"),
        (AlertRules, {"cooldown_s": -1}, "cooldown_s must not be negative"),
        (VitalLimits, {"cpu_usage": 101, "agents": 0}, "cpu_usage must be a percentage.*agents must be above 0"),
        (PerformanceLimits, {"response_ms": 0, "window": 4}, "response_ms must be above 0.*window must be at least 5"),
        (PerformanceLimits, {"responsiveness": 1.1}, "responsiveness must be at most 1"),
    ],
)
def test_a_bad_setting_is_named_with_what_would_be_right(kind: Any, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        kind(**fields)
