"""Figures of a task agent, and the monitor's alerts over messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runtime_contract import echo, spec_of

from dspex_agents import (
    AcknowledgeAlert,
    AgentContext,
    AgentFailedError,
    AgentStoppedError,
    ChildSpec,
    GetAlerts,
    GetHealth,
    ManualClock,
    MonitorAgent,
    SystemStoppedError,
    TaskAgent,
    UnknownAgentError,
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


def test_an_open_alert_can_be_acknowledged_and_an_unknown_one_cannot() -> None:
    monitor = ChildSpec(id="monitor", start=MonitorAgent)
    with start_local_system(spec_of(echo(restart="temporary"), monitor)) as system:
        with pytest.raises(AgentStoppedError):
            system.ask("echo", "exit-crash")
        with pytest.raises(SystemStoppedError):
            system.ask("echo", 1)
        system.ask("monitor", GetHealth(fresh=True), control=True)
        assert system.ask("monitor", AcknowledgeAlert("down:echo"), control=True).acknowledged
        system.ask("monitor", GetHealth(fresh=True), control=True)
        (entry,) = system.ask("monitor", GetAlerts(), control=True)
        assert (entry.acknowledged, entry.seen) == (True, 2)
        with pytest.raises(UnknownAgentError, match=r"No open alert 'x'. Open: down:echo"):
            system.ask("monitor", AcknowledgeAlert("x"), control=True)
        assert system.status("monitor").details == {"score": 35.0, "open_alerts": 1, "samples": 2}


def test_the_monitor_samples_by_itself(wait: Any) -> None:
    monitor = ChildSpec(id="monitor", start=MonitorAgent, kwargs={"interval_s": 0.01})
    with start_local_system(spec_of(echo(), monitor)) as system:
        wait(lambda: system.status("monitor").details["samples"] >= 3)
        assert system.ask("monitor", GetHealth(), control=True).score == 100.0
