"""Runs whose agent or whose coordinator dies: lost, found again, or stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from coordinated import asked, kill_host_of, started, status, status_or_none
from sample_agents import SumOfSquares
from team_agents import Held, Named

from dspex_agents import (
    AgentExit,
    ManualClock,
    RunPlan,
    SpecError,
    Work,
)
from dspex_agents.teamwork.run_agent import Drive, EndRun, RunAgent
from dspex_agents.teamwork.run_messages import (
    GetCoordinationMetrics,
    ListRuns,
    RunLostError,
    StartPlan,
)
from dspex_agents.teamwork.runs import RunsSettings
from dspex_agents.teamwork.task_workflow import TaskWorkflow
from dspex_agents.teamwork.team import Team, WorkSettings
from dspex_agents.testing import LoneHost


class Busy(SumOfSquares):
    """A plan whose first pull takes until it is let go."""

    entered, leave, closed = threading.Event(), threading.Event(), threading.Event()

    def __init__(self) -> None:
        super().__init__(3)

    def pull(self, limit: int, now: float) -> Sequence[Work]:
        self.entered.set()
        self.leave.wait(10)
        return super().pull(limit, now)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Held.reset()
    Named.reset()
    yield
    Held.gate.set()


class TestLostAndFound:
    def test_the_crash_of_one_runs_agent_touches_no_other_and_its_asker_may_ask_again(self, wait: Any) -> None:
        with started() as system:
            lost, lost_answers = asked(system, RunPlan("lost", SumOfSquares, {"n": 2}))
            kept, kept_answers = asked(system, RunPlan("kept", SumOfSquares, {"n": 3}))
            wait(lambda: Held.begun.total() == 5)
            system.kill_child("coord:lost")
            lost.join(10)
            assert isinstance(lost_answers[0], RunLostError)
            assert "Run 'lost' was lost with its agent" in str(lost_answers[0])
            assert "Ask for it again" in str(lost_answers[0])
            assert (status(system, "lost").status, status(system, "kept").status) == ("failed", "running")
            Held.gate.set()
            kept.join(10)
            assert kept_answers[0]["sum"] == 14
            assert system.ask("coord", RunPlan("lost", SumOfSquares, {"n": 2}))["sum"] == 5

    def test_a_run_goes_on_while_its_coordinator_dies_and_is_found_again(self, wait: Any) -> None:
        with started(runs=RunsSettings(host="runs", unasked_s=0.05)) as system:
            system.ask("coord", StartPlan(SumOfSquares, {"n": 9}, "r"))
            wait(lambda: Held.begun.total() == 4)
            kill_host_of(system, "coord")
            wait(lambda: status_or_none(system, "r") == "running")
            assert not status(system, "r").awaited
            Held.gate.set()
            wait(lambda: status(system, "r").status == "completed")
            assert status(system, "r").result["done"] == 9
            assert system.ask("coord", GetCoordinationMetrics(), control=True).successful == 1
            wait(lambda: "coord:r" not in {leaf.id for leaf in system.tree().agents()})
        assert Held.begun.total() == 9

    def test_whoever_asks_again_after_the_coordinators_death_joins_the_run_that_went_on(self, wait: Any) -> None:
        with started(runs=RunsSettings(host="runs")) as system:
            thread, answers = asked(system, RunPlan("r", SumOfSquares, {"n": 9}), retry_safe=True)
            wait(lambda: Held.begun.total() == 4)
            before = system.status("coord:r").epoch
            kill_host_of(system, "coord", silently=True)
            wait(lambda: status_or_none(system, "r") == "running")
            assert system.status("coord:r").epoch == before
            Held.gate.set()
            thread.join(10)
        assert answers[0]["done"] == 9

    def test_a_run_that_went_on_and_that_nobody_asks_for_is_stopped(self, wait: Any) -> None:
        with started(runs=RunsSettings(host="runs", unasked_s=0.05)) as system:
            thread, _ = asked(system, RunPlan("r", SumOfSquares, {"n": 9}))
            wait(lambda: Held.begun.total() == 4)
            kill_host_of(system, "coord", silently=True)
            thread.join(10)
            wait(lambda: status_or_none(system, "r") == "cancelled")
            wait(lambda: "coord:r" not in {leaf.id for leaf in system.tree().agents()})

    def test_a_coordinator_that_is_restarted_in_good_order_finds_what_goes_on_by_itself(self, wait: Any) -> None:
        with started() as system:
            system.ask("coord", StartPlan(SumOfSquares, {"n": 9}, "alone"))
            thread, answers = asked(system, RunPlan("asked", SumOfSquares, {"n": 9}))
            wait(lambda: status_or_none(system, "asked") == "running")
            system.restart_child("coord")
            thread.join(10)
            assert isinstance(answers[0], Exception)
            wait(lambda: [s.run_id for s in system.ask("coord", ListRuns(), control=True)] == ["alone"])
            Held.gate.set()
            wait(lambda: status(system, "alone").status == "completed")

    def test_a_run_is_not_ended_by_an_earlier_incarnation_of_its_coordinator(self) -> None:
        async def scenario() -> None:
            agent = RunAgent("r", WorkSettings())
            agent.context = LoneHost(ManualClock()).context("coord:r")
            await agent.on_start()
            order = RunPlan("r", TaskWorkflow, {"id": "w", "tasks": []})
            with pytest.raises(SpecError, match="has no tasks"):
                await agent.on_message(Drive(order, Team(), owner=5))
            assert await agent.on_message(EndRun(owner=4)) is None
            with pytest.raises(AgentExit):
                await agent.on_message(EndRun(owner=5))
            await agent.on_stop("normal")

        asyncio.run(scenario())

    def test_a_run_that_is_stopped_while_its_plan_is_busy_is_closed_all_the_same(self, wait: Any) -> None:
        with started() as system:
            thread, _ = asked(system, RunPlan("r", Busy), timeout_s=30)
            assert Busy.entered.wait(10)
            stopping = threading.Thread(target=system.stop_child, args=("coord:r",))
            stopping.start()
            wait(lambda: "coord:r" not in {r.name for r in system.find(capabilities=frozenset({"run"}))})
            Busy.leave.set()
            stopping.join(10)
            thread.join(10)
            assert Busy.closed.is_set()

    def test_nothing_of_a_run_is_left_when_the_system_stops(self, wait: Any) -> None:
        system = started()
        system.ask("coord", StartPlan(SumOfSquares, {"n": 9}, "r"))
        wait(lambda: Held.begun.total() == 4)
        system.stop()
        wait(lambda: not [thread.name for thread in threading.enumerate() if thread.name.startswith("plan-")])
