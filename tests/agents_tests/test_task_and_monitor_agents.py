"""Figures of a task agent, and what keeps one from starting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runtime_contract import spec_of

from dspex_agents import (
    AgentContext,
    AgentFailedError,
    ChildSpec,
    ManualClock,
    TaskAgent,
    start_local_system,
)
from dspex_agents.testing import LoneHost


class Timed:
    """Takes the seconds it is told, on the test's clock."""

    def __init__(self, clock: ManualClock, events: list[str]) -> None:
        self.clock, self.events = clock, events

    async def start(self, context: AgentContext) -> None:
        self.events.append(f"start {context.name}")

    async def perform(self, payload: Any) -> Any:
        if isinstance(payload, Exception):
            raise payload
        self.clock.advance(payload)
        return payload

    async def stop(self) -> None:
        self.events.append("stop")


def test_a_task_agent_counts_what_it_did_how_long_it_took_and_what_failed() -> None:
    clock, events = ManualClock(100.0), []
    agent = TaskAgent(Timed, {"clock": clock, "events": events}, concurrency=3, mailbox_size=7)
    agent.context = LoneHost(clock).context("t")
    assert (agent.concurrency, agent.mailbox_size) == (3, 7)
    assert agent.details() == {
        "done": 0,
        "failed": 0,
        "success_rate": 100.0,
        "average_s": None,
        "fastest_s": None,
        "slowest_s": None,
        "errors": {},
    }

    async def life() -> None:
        await agent.on_start()
        for body in (1.0, 2.0, 6.0):
            assert await agent.on_message(body) == body
        for error in (ValueError("x"), ValueError("y"), KeyError("z")):
            with pytest.raises(type(error)):
                await agent.on_message(error)
        await agent.on_stop("shutdown")

    asyncio.run(life())
    assert agent.details() == {
        "done": 3,
        "failed": 3,
        "success_rate": 50.0,
        "average_s": 3.0,
        "fastest_s": 1.0,
        "slowest_s": 6.0,
        "errors": {"ValueError": 2, "KeyError": 1},
    }
    assert events == ["start t", "stop"]


def test_a_worker_that_cannot_start_keeps_the_system_from_starting() -> None:
    class Refuses(Timed):
        async def start(self, context: AgentContext) -> None:
            raise RuntimeError("no model file")

    kwargs = {"worker": Refuses, "kwargs": {"clock": ManualClock(), "events": []}}
    with pytest.raises(RuntimeError, match="no model file"):
        start_local_system(spec_of(ChildSpec(id="t", start=TaskAgent, kwargs=kwargs)))


def test_a_failing_unit_is_answered_with_its_error_and_seen_in_the_status() -> None:
    kwargs = {"worker": Timed, "kwargs": {"clock": ManualClock(), "events": []}}
    with start_local_system(spec_of(ChildSpec(id="t", start=TaskAgent, kwargs=kwargs))) as system:
        with pytest.raises(AgentFailedError, match="ZeroDivisionError: by zero"):
            system.ask("t", ZeroDivisionError("by zero"))
        assert system.status("t").details["errors"] == {"ZeroDivisionError": 1}
