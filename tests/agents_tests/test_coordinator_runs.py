"""Runs of a coordinator in a system: each an agent of its own, told from outside at any moment, lost and found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from coordinated import asked, heard, started, status, status_or_none, workers
from runtime_contract import spec_of
from sample_agents import SumOfSquares
from team_agents import Held, Named

from dspex_agents import (
    AgentFailedError,
    DeadlineExceededError,
    RunPlan,
    SpecError,
    start_local_system,
)
from dspex_agents.roles.coordinator_agent import coordinator_children
from dspex_agents.teamwork.run_messages import (
    CancelRun,
    GetCoordinationMetrics,
    ListRuns,
    PauseRun,
    ResumeRun,
    StartPlan,
    UnknownRunError,
)
from dspex_agents.teamwork.runs import RunsSettings
from dspex_agents.teamwork.task_workflow import Task, TaskWorkflow, WorkflowFailedError
from dspex_agents.teamwork.team import WorkSettings

CIRCLE = [Task("a", depends_on=("b",)), Task("b", depends_on=("a",))]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Held.reset()
    Named.reset()
    yield
    Held.gate.set()


class TestStarting:
    def test_a_run_is_started_at_once_and_its_result_is_in_its_status(self, wait: Any) -> None:
        with started() as system:
            run_id = system.ask("coord", StartPlan(SumOfSquares, {"n": 3}))
            assert status(system, run_id).status in ("initializing", "running")
            assert status(system, run_id).ended_at is None
            Held.gate.set()
            wait(lambda: status(system, run_id).status == "completed")
            end = status(system, run_id)
            wait(lambda: "workflow_completed" in heard(system))
            said = heard(system)
        assert end.result == {"sum": 14, "done": 3, "errors": []}
        assert end.ended_at >= end.started_at > 0
        assert sum(end.assigned.values()) == end.units_done == 3
        assert said == ["workflow_started", "workflow_completed"]

    def test_a_run_that_cannot_be_built_has_failed_and_says_why(self, wait: Any) -> None:
        with started(Named) as system:
            system.ask("coord", StartPlan(TaskWorkflow, {"id": "w", "tasks": CIRCLE}, "r"))
            wait(lambda: status(system, "r").status == "failed")
            assert "in a circle: " in status(system, "r").reason
            with pytest.raises(AgentFailedError, match="in a circle: ") as caught:
                system.ask("coord", RunPlan("r", TaskWorkflow, {"id": "w", "tasks": CIRCLE}))
            wait(lambda: "workflow_failed" in heard(system))  # once or twice: the second may have joined the first
        assert isinstance(caught.value.cause, SpecError)

    def test_a_run_asked_for_again_and_again_is_a_new_one_each_time(self) -> None:
        with started(Named) as system:
            for _ in range(20):
                result = system.ask("coord", RunPlan("r", TaskWorkflow, {"id": "w", "tasks": [Task("a")]}))
                assert result.results.keys() == {"a"}
            assert system.ask("coord", GetCoordinationMetrics(), control=True).successful == 20
            assert [s.run_id for s in system.ask("coord", ListRuns(), control=True)] == ["r"]

    def test_a_run_that_was_also_started_to_go_on_outlives_its_asker(self, wait: Any) -> None:
        with started() as system:
            thread, answers = asked(system, RunPlan("r", SumOfSquares, {"n": 3}), timeout_s=1.0)
            wait(lambda: status_or_none(system, "r") == "running")
            assert system.ask("coord", StartPlan(SumOfSquares, {"n": 3}, "r")) == "r"
            wait(lambda: not status(system, "r").awaited)
            thread.join(10)
            assert isinstance(answers[0], DeadlineExceededError)
            Held.gate.set()
            wait(lambda: status(system, "r").status == "completed")

    def test_a_run_under_a_supervisor_that_is_not_there_is_refused(self) -> None:
        with started(Named, runs=RunsSettings(supervisor="nowhere")) as system:
            order = StartPlan(TaskWorkflow, {"id": "w", "tasks": [Task("a")]}, "r")
            with pytest.raises(AgentFailedError, match="No supervisor 'nowhere'"):
                system.ask("coord", order)
            assert status(system, "r").status == "failed"

    def test_any_text_may_be_a_runs_id_and_no_two_share_an_agent(self, wait: Any) -> None:
        with started() as system:
            ids = ["a b", "a_b", "a/b", "", "ä:b"]
            for run_id in ids:
                system.ask("coord", StartPlan(SumOfSquares, {"n": 1}, run_id))
            wait(lambda: {s.status for s in system.ask("coord", ListRuns(), control=True)} == {"running"})
            agents = {s.agent for s in system.ask("coord", ListRuns(), control=True)}
            assert len(agents) == len(ids)
            assert agents <= {leaf.id for leaf in system.tree().agents()}

    def test_a_task_that_fails_ends_its_workflow_with_its_name(self) -> None:
        Held.gate.set()
        with started() as system, pytest.raises(WorkflowFailedError, match="failed in task 'a': TypeError"):
            system.ask("coord", RunPlan("r", TaskWorkflow, {"id": "w", "tasks": [Task("a", "no number")]}))

    def test_the_runs_of_coordinator_children_live_under_a_supervisor_of_their_own(self, wait: Any) -> None:
        runs, boss = coordinator_children("coord", ("w1", "w2"), runs=RunsSettings(supervisor="all-runs", most=2))
        with start_local_system(spec_of(*workers(), runs, boss)) as system:
            system.ask("coord", StartPlan(SumOfSquares, {"n": 3}, "r"))
            node = next(child for child in system.tree().children if child.id == "all-runs")
            assert [leaf.id for leaf in node.children] == ["coord:r"]
            Held.gate.set()
            wait(lambda: not next(c for c in system.tree().children if c.id == "all-runs").children)


class TestControl:
    def test_a_paused_run_begins_nothing_new_until_it_is_resumed(self, wait: Any) -> None:
        with started() as system:
            system.ask("coord", StartPlan(SumOfSquares, {"n": 9}, "r"))
            wait(lambda: Held.begun.total() == 4)
            assert system.ask("coord", PauseRun("r"), control=True)
            Held.gate.set()
            wait(lambda: status(system, "r").units_done == 4)
            now = status(system, "r")
            assert (now.status, now.in_flight, Held.begun.total()) == ("paused", 0, 4)
            assert system.ask("coord", ResumeRun("r"), control=True)
            wait(lambda: status(system, "r").status == "completed")
            assert status(system, "r").result["done"] == 9
            said = heard(system)
        assert said[:3] == ["workflow_started", "workflow_paused", "workflow_resumed"]

    def test_a_cancelled_run_answers_its_asker_with_what_was_done(self, wait: Any) -> None:
        with started() as system:
            thread, answers = asked(system, RunPlan("r", SumOfSquares, {"n": 9}))
            wait(lambda: Held.begun.total() == 4)
            assert system.ask("coord", CancelRun("r"), control=True)
            thread.join(10)
            assert answers[0]["errors"] == ["infrastructure"] * 4
            assert status(system, "r").status == "cancelled"
            assert system.ask("coord", CancelRun("r"), control=True) is False
            with pytest.raises(UnknownRunError, match=r"No run 'r' is under way here.*It has ended: cancelled"):
                system.ask("coord", PauseRun("r"), control=True)

    def test_what_members_work_on_for_a_cancelled_run_is_stopped_there(self, wait: Any) -> None:
        with started() as system:
            system.ask("coord", StartPlan(SumOfSquares, {"n": 9}, "r"))
            wait(lambda: Held.begun.total() == 4)
            system.ask("coord", CancelRun("r"), control=True)
            wait(lambda: Held.stopped.total() == 4)

    def test_a_stalled_run_is_reported_and_goes_on(self, wait: Any) -> None:
        with started(work=WorkSettings(stall_s=0.1, refresh_s=0.02)) as system:
            system.ask("coord", StartPlan(SumOfSquares, {"n": 3}, "r"))
            wait(lambda: status(system, "r").stalled)
            wait(lambda: "stalled_workflows_detected" in heard(system))
            assert system.status("coord:r").details["stalled"]
            Held.gate.set()
            wait(lambda: status(system, "r").status == "completed")

    def test_metrics_count_runs_units_and_what_each_member_did(self, wait: Any) -> None:
        with started(Named) as system:
            for number in range(3):
                tasks = [Task(str(n)) for n in range(4)]
                system.ask("coord", RunPlan(f"r{number}", TaskWorkflow, {"id": "w", "tasks": tasks}))
            metrics = system.ask("coord", GetCoordinationMetrics(), control=True)
        assert (metrics.total, metrics.active, metrics.successful, metrics.units) == (3, 0, 3, 12)
        assert metrics.mean_duration_s > 0
        assert {name: f.units for name, f in metrics.members.items()} == {"w1": 6, "w2": 6}
