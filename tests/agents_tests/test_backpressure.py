"""Back-pressure: levels with hysteresis, and the health that an agent shows."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.agent import AgentStatus
from dspex_agents.errors import SpecError
from dspex_agents.services.backpressure import Backpressure, report_pressure
from dspex_agents.testing import LoneHost


def levels(pressure: Backpressure, fills: list[int], size: int = 100) -> str:
    """Return the first letter of each level that these fills lead through."""
    story = ""
    for fill in fills:
        pressure = pressure.observed(fill, size)
        story += pressure.level[0]
    return story


def test_the_level_rises_at_the_marks_and_falls_only_well_below_them() -> None:
    assert levels(Backpressure(), [0, 49, 50, 49, 41, 40, 39, 40, 49, 50]) == "nnwwwwnnnw"
    assert levels(Backpressure(), [99, 100, 99, 90, 89, 99, 100, 39]) == "wfffwwfn"
    assert levels(Backpressure(slack=0.0), [50, 49, 100, 99]) == "wnfw"
    assert levels(Backpressure(), [100, 0, 100]) == "fnf"


def test_each_level_has_its_health() -> None:
    pressure = Backpressure()
    assert [pressure.observed(n, 10).health for n in (0, 5, 10)] == ["healthy", "degraded", "unhealthy"]


@given(fills=st.lists(st.integers(0, 100)))
def test_a_fill_that_moves_by_less_than_the_slack_changes_the_level_at_most_once(fills: list[int]) -> None:
    for base in (45, 50, 95):
        story = levels(Backpressure(), [base + fill % 6 for fill in fills])
        assert sum(a != b for a, b in itertools.pairwise(story)) <= 1


@pytest.mark.parametrize(
    "fields", [{"warn_at": 0}, {"warn_at": 1.0}, {"full_at": 1.1}, {"slack": 0.5}, {"slack": -0.1}]
)
def test_bad_marks_are_named(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="backpressure"):
        Backpressure(**fields)


def test_an_agent_shows_the_pressure_in_its_registration_when_it_changes() -> None:
    waiting = [10, 60, 70, 100, 0]

    async def ask(to: str, body: Any, **options: Any) -> AgentStatus:
        assert options["control"]
        return AgentStatus(to, 1, "idle", waiting.pop(0), 0, 0, 0, 0.0, 0.0, mailbox_size=100)

    async def scene() -> LoneHost:
        host = LoneHost(ask=ask)
        pressure = Backpressure()
        while waiting:
            pressure = await report_pressure(host.context("busy", 7), pressure)
        return host

    told = [(name, epoch, changes["health"]) for name, epoch, changes in asyncio.run(scene()).updates]
    assert told == [("busy", 7, "degraded"), ("busy", 7, "unhealthy"), ("busy", 7, "healthy")]
