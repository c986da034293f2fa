"""Protected calls: side by side through a breaker, cut off in time, with a fallback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dspex_agents import ManualClock
from dspex_agents.agent import AgentExit
from dspex_agents.errors import SpecError
from dspex_agents.services.breaker import BreakerOpenError, BreakerSettings
from dspex_agents.services.protected_call import ProtectedCalls

TWICE = BreakerSettings(failure_threshold=2, success_threshold=1, reset_s=10.0)


async def fails() -> str:
    raise ValueError("down")


async def works() -> str:
    return "up"


def test_bug_calls_ran_one_after_the_other_inside_the_breaker() -> None:
    async def scene() -> None:
        calls = ProtectedCalls(ManualClock(), TWICE)
        meeting = asyncio.Barrier(50)  # opens when all fifty calls are under way at once

        async def call() -> None:
            await meeting.wait()

        async with asyncio.timeout(20):
            await asyncio.gather(*(calls.run("api", call) for _ in range(50)))

    asyncio.run(scene())


def test_what_keeps_failing_is_not_called_until_a_trial_succeeds() -> None:
    async def scene() -> None:
        clock = ManualClock()
        calls = ProtectedCalls(clock, TWICE)
        for _ in range(2):
            with pytest.raises(ValueError, match="down"):
                await calls.run("api", fails)
        with pytest.raises(BreakerOpenError, match="'api' is not closed; ask again in 10 s"):
            await calls.run("api", works)
        assert await calls.run("other", works) == "up"
        clock.advance(10.0)
        assert await calls.run("api", works) == "up"
        assert calls.status()["api"].state == "closed"

    asyncio.run(scene())


def test_a_fallback_takes_the_place_of_a_failure_and_of_a_call_not_made() -> None:
    async def scene() -> None:
        calls = ProtectedCalls(ManualClock(), TWICE)
        assert [await calls.run("api", fails, fallback="cached") for _ in range(3)] == ["cached"] * 3
        assert await calls.run("api", fails, fallback=None) is None  # type: ignore[arg-type]
        assert calls.status()["api"].times_opened == 1

    asyncio.run(scene())


def test_a_call_that_takes_too_long_is_cut_off_and_is_a_failure() -> None:
    async def scene() -> None:
        calls = ProtectedCalls(ManualClock(), TWICE, timeout_s=0.01)
        with pytest.raises(TimeoutError):
            await calls.run("api", lambda: asyncio.sleep(60))
        assert calls.status()["api"].failures == 1

    asyncio.run(scene())


@pytest.mark.parametrize("end", [AgentExit("done"), asyncio.CancelledError()])
def test_an_agent_that_ends_and_a_call_that_is_cancelled_say_nothing_of_the_service(end: BaseException) -> None:
    async def call() -> Any:
        raise end

    async def scene() -> None:
        calls = ProtectedCalls(ManualClock(), TWICE)
        with pytest.raises(type(end)):
            await calls.run("api", call, fallback="never")
        assert calls.status()["api"].failures == 0

    asyncio.run(scene())


def test_a_breaker_is_closed_by_hand_and_an_unknown_service_is_named() -> None:
    async def scene() -> None:
        calls = ProtectedCalls(ManualClock(), TWICE)
        for _ in range(2):
            await calls.run("api", fails, fallback="")
        assert calls.reset("api") == ("api",)
        assert await calls.run("api", works) == "up"
        assert calls.reset() == ("api",)
        with pytest.raises(SpecError, match=r"No service 'apis' was called so far\. Known: api"):
            calls.reset("apis")

    asyncio.run(scene())


def test_a_bad_time_limit_is_named() -> None:
    with pytest.raises(SpecError, match="timeout_s must be a positive number"):
        ProtectedCalls(ManualClock(), timeout_s=0)
