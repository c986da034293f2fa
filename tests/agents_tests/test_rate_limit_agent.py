"""The rate limit agent: named limits shared by all who ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from dspex_agents import ChildSpec, ManualClock, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.agent import Agent
from dspex_agents.errors import AgentFailedError, SpecError
from dspex_agents.services.rate_limit_agent import AcquireRate, GetRateStatus, RateLimit, RateLimitAgent
from dspex_agents.services.rate_limiter import RateLimitedError, RateStatus

LIMITS = {"api": RateLimit(limit=2, window_s=10.0), "mail": RateLimit(limit=100, window_s=1.0, burst=1)}


class Caller(Agent):
    """Asks for a unit of the limit before it answers."""

    async def on_message(self, body: Any) -> Any:
        return await self.context.ask("limits", AcquireRate(body, self.context.name))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def system(clock: ManualClock) -> Iterator[System]:
    children = (
        ChildSpec(id="limits", start=RateLimitAgent, kwargs={"limits": LIMITS}),
        ChildSpec(id="a", start=Caller),
        ChildSpec(id="b", start=Caller),
    )
    spec = SystemSpec(name="rates", supervisor=SupervisorSpec(id="top", children=children))
    with start_local_system(spec, clock=clock) as started:
        yield started


def test_each_identifier_has_its_share_of_each_limit_and_the_error_says_when_to_ask_again(
    system: System, clock: ManualClock
) -> None:
    assert system.ask("a", "api") == RateStatus(limit=2, remaining=1, reset_s=5.0)
    system.ask("a", "api")
    with pytest.raises(RateLimitedError, match="'a' is over its limit of 2 in 10 s; again in 5 s") as caught:
        system.ask("a", "api")
    assert caught.value.retry_after_s == 5.0
    system.ask("b", "api")
    system.ask("a", "mail")
    clock.advance(5.0)
    system.ask("a", "api")
    figures = system.status("limits").details
    assert figures["api"] == {"limit": 2, "window_s": 10.0, "identifiers": 2, "passed": 4, "refused": 1}
    assert (figures["mail"]["passed"], figures["mail"]["refused"]) == (1, 0)


def test_asking_what_is_left_costs_nothing_and_passes_a_full_mailbox(system: System) -> None:
    system.pause("limits")
    status = GetRateStatus("api", "driver")
    assert [system.ask("limits", status, control=True) for _ in range(3)] == [RateStatus(2, 2, 0.0)] * 3


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (AcquireRate("apis", "a"), "No rate limit 'apis'. Known: api, mail."),
        (AcquireRate("api", "a", 3), "amount must be from 1 to the burst of 2, got 3"),
        (AcquireRate("mail", "a", 2), "to the burst of 1"),
        ("hello", "RateLimitAgent takes no message of type str"),
    ],
)
def test_a_bad_message_is_named(system: System, message: Any, told: str) -> None:
    with pytest.raises(AgentFailedError, match=told):
        system.ask("limits", message)


def test_a_bad_limit_is_named() -> None:
    with pytest.raises(SpecError, match="limit 'api': rate limiter: window_s must be a positive number"):
        RateLimitAgent({"api": RateLimit(window_s=0)})


def test_an_unlimited_number_of_askers_never_passes_more_than_the_limit(system: System) -> None:
    async def burst() -> int:
        asks = (system.aask("limits", AcquireRate("api", "shared")) for _ in range(50))
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(answer, (RateStatus, RateLimitedError)) for answer in answers)
        return sum(isinstance(answer, RateStatus) for answer in answers)

    assert asyncio.run(burst()) == 2
