"""Defects of the systems we come from, one test each, named after it (coordinator, load and assignment)."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from runtime_contract import spec_of
from sample_agents import SumOfSquares
from team_agents import Held, Named, joined

from dspex_agents import (
    ChildSpec,
    CoordinatorAgent,
    DeadlineExceededError,
    OutcomeUnknownError,
    RunPlan,
    System,
    TaskAgent,
    start_local_system,
)
from dspex_agents.teamwork import run_messages
from dspex_agents.teamwork.member_pool import NoCapableMemberError
from dspex_agents.teamwork.run_messages import (
    CancelRun,
    DistributeTask,
    GetCoordinationMetrics,
    GetRunStatus,
    ListRuns,
    RunLimitError,
    RunStatus,
    StartPlan,
)
from dspex_agents.teamwork.runs import RunsSettings
from dspex_agents.teamwork.task_workflow import Task, TaskWorkflow
from dspex_agents.teamwork.team import Balance, WorkSettings

SQL, PYTHON = frozenset({"sql"}), frozenset({"python"})


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Held.reset()
    Named.reset()
    yield
    Held.gate.set()


def system_of(worker: type, members: dict[str, frozenset[str]], **options: Any) -> System:
    workers = [
        ChildSpec(id=name, start=TaskAgent, kwargs={"worker": worker, "concurrency": 4}, capabilities=capabilities)
        for name, capabilities in members.items()
    ]
    kwargs = {"members": tuple(members), **options}
    return start_local_system(spec_of(*workers, ChildSpec(id="coord", start=CoordinatorAgent, kwargs=kwargs)))


def ended(system: System, run_id: str, wait: Any) -> RunStatus:
    """Return the run's status once it has ended."""
    last: list[RunStatus] = []

    def is_over() -> bool:
        last[:] = [system.ask("coord", GetRunStatus(run_id), control=True)]
        return last[0].status in ("completed", "failed", "cancelled")

    wait(is_over)
    return last[0]


def test_bug_the_step_index_is_never_advanced_so_a_workflow_of_several_steps_never_finishes(wait: Any) -> None:
    tasks = [Task("a", "1"), Task("b", "2", depends_on=("a",)), Task("c", depends_on=("a", "b"), build=joined)]
    with system_of(Named, {"w1": SQL, "w2": SQL}) as system:
        run_id = system.ask("coord", StartPlan(TaskWorkflow, {"id": "three steps", "tasks": tasks}))
        status = ended(system, run_id, wait)
    assert (status.status, status.percent) == ("completed", 100.0)
    assert (status.progress["step"], status.progress["steps"]) == (3, 3)


def test_bug_results_and_assigned_agents_are_never_filled_in(wait: Any) -> None:
    tasks = [Task("a", "x", needs=SQL), Task("b", needs=PYTHON, depends_on=("a",), build=joined)]
    with system_of(Named, {"w1": SQL, "w2": PYTHON}) as system:
        system.ask("coord", StartPlan(TaskWorkflow, {"id": "w", "tasks": tasks}, run_id="r"))
        status = ended(system, "r", wait)
    assert status.results == status.result.results == {"a": ("w1", "x"), "b": ("w2", "x")}
    assert status.assigned == {"w1": 1, "w2": 1}
    assert status.result.assigned == {"a": "w1", "b": "w2"}


def test_bug_load_is_never_updated_so_the_least_loaded_is_always_the_same_agent(wait: Any) -> None:
    with system_of(Held, {"w1": SQL, "w2": SQL, "w3": SQL}) as system:
        askers = [threading.Thread(target=system.ask, args=("coord", DistributeTask(n))) for n in range(6)]
        for asker in askers:
            asker.start()
        wait(lambda: Held.begun.total() == 6)
        assert Held.begun == {"w1": 2, "w2": 2, "w3": 2}
        figures = system.ask("coord", GetCoordinationMetrics(), control=True).members
        assert {name: f.in_flight for name, f in figures.items()} == {"w1": 2, "w2": 2, "w3": 2}
        Held.gate.set()
        for asker in askers:
            asker.join(10)
        figures = system.ask("coord", GetCoordinationMetrics(), control=True).members
        assert {f.in_flight for f in figures.values()} == {0}


def test_bug_completed_workflows_stay_active_so_as_many_as_the_limit_trip_it() -> None:
    with system_of(Named, {"w1": SQL}, runs=RunsSettings(most=2, history=3)) as system:
        for number in range(7):
            assert system.ask("coord", RunPlan(f"r{number}", TaskWorkflow, {"id": "w", "tasks": [Task("a", 1)]}))
        assert [s.run_id for s in system.ask("coord", ListRuns(), control=True)] == ["r4", "r5", "r6"]
        metrics = system.ask("coord", GetCoordinationMetrics(), control=True)
        assert (metrics.total, metrics.active, metrics.successful) == (7, 0, 7)


def test_bug_a_full_coordinator_also_refuses_status_and_cancel(wait: Any) -> None:
    with system_of(Held, {"w1": SQL}, runs=RunsSettings(most=1)) as system:
        system.ask("coord", StartPlan(SumOfSquares, {"n": 3}, run_id="r"))
        wait(lambda: Held.begun.total() == 2)
        with pytest.raises(RunLimitError, match="Run 'other' was not begun: 1 runs are under way"):
            system.ask("coord", StartPlan(SumOfSquares, {"n": 3}, run_id="other"))
        with pytest.raises(RunLimitError):
            system.ask("coord", RunPlan("other", SumOfSquares, {"n": 3}))
        assert system.ask("coord", GetRunStatus("r"), control=True).status == "running"
        assert len(system.ask("coord", ListRuns(), control=True)) == 1
        assert system.ask("coord", StartPlan(SumOfSquares, {"n": 3}, run_id="r")) == "r"  # it is under way: no new one
        assert system.ask("coord", CancelRun("r"), control=True)
        assert ended(system, "r", wait).status == "cancelled"


def test_bug_commands_that_are_listed_do_not_exist() -> None:
    listed = CoordinatorAgent.__doc__ or ""
    commands = [
        kind
        for name, kind in vars(run_messages).items()
        if dataclasses.is_dataclass(kind) and kind.__module__ == run_messages.__name__ and f"`{name}`" in listed
    ]
    assert len(commands) == 13
    every = {f.name: 1 for kind in commands for f in dataclasses.fields(kind)}
    known = {
        "run_id": "r",
        "build": TaskWorkflow,
        "kwargs": {"id": "w", "tasks": [Task("a")]},
        "names": (),
        "timeout_s": 5.0,
        "reason": "x",
    }
    known |= {"share": 1, "needs": frozenset(), "capabilities": frozenset(), "affinity": None, "payload": 1}
    assert every.keys() <= known.keys()
    with system_of(Named, {"w1": SQL}) as system:
        for kind in sorted(commands, key=lambda kind: (kind.__doc__ or "").startswith("Control")):
            body = kind(**{f.name: known[f.name] for f in dataclasses.fields(kind)})
            control = (kind.__doc__ or "").startswith("Control")
            try:
                system.ask("coord", body, control=control, timeout_s=5.0)
            except run_messages.UnknownRunError:
                continue  # it was taken: the run of that id has ended


def test_bug_the_time_limit_of_a_task_is_unused() -> None:
    work = WorkSettings(timeout_s=0.05, attempts=1)
    with system_of(Held, {"w1": SQL}, work=work) as system:
        with pytest.raises(DeadlineExceededError):
            system.ask("coord", DistributeTask(1))
        with pytest.raises(DeadlineExceededError):
            system.ask("coord", DistributeTask(1, timeout_s=0.02))
        result = system.ask("coord", RunPlan("r", SumOfSquares, {"n": 1}))
    assert result["errors"] == ["infrastructure"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_bug_the_number_of_attempts_is_unused(attempts: int) -> None:
    Named.failing = {"w1", "w2", "w3", "w4"}
    work = WorkSettings(attempts=attempts)
    with (
        system_of(Named, dict.fromkeys(("w1", "w2", "w3", "w4"), SQL), work=work) as system,
        pytest.raises(OutcomeUnknownError, match="lost it"),
    ):
        system.ask("coord", DistributeTask(1))
    assert len(Named.asked) == attempts


def test_bug_the_fallback_after_a_failure_ignores_the_capabilities_that_are_needed() -> None:
    Named.failing = {"w2"}
    members = {"w1": PYTHON, "w2": SQL, "w3": PYTHON, "w4": SQL}
    with system_of(Named, members, work=WorkSettings(balance="round_robin")) as system:
        assert system.ask("coord", DistributeTask("q", needs=SQL)) == ("w4", "q")
        tasks = [Task(str(n), "q", needs=SQL) for n in range(8)]
        result = system.ask("coord", RunPlan("r", TaskWorkflow, {"id": "w", "tasks": tasks}))
    assert set(result.assigned.values()) == {"w4"}
    assert set(Named.asked) == {"w2", "w4"}


def test_bug_an_agent_with_some_of_the_capabilities_passes_for_one_with_all() -> None:
    with system_of(Named, {"w1": SQL, "w2": PYTHON}) as system:
        with pytest.raises(NoCapableMemberError, match="all of python, sql"):
            system.ask("coord", DistributeTask("q", needs=SQL | PYTHON))
        assert Named.asked == []


def test_bug_a_cancelled_workflow_counts_as_failed(wait: Any) -> None:
    with system_of(Held, {"w1": SQL}) as system:
        system.ask("coord", StartPlan(SumOfSquares, {"n": 3}, run_id="r"))
        wait(lambda: Held.begun.total() == 2)
        system.ask("coord", CancelRun("r", "changed my mind"), control=True)
        status = ended(system, "r", wait)

        def counted() -> tuple[int, int, int]:
            metrics = system.ask("coord", GetCoordinationMetrics(), control=True)
            return metrics.cancelled, metrics.failed, metrics.successful

        wait(lambda: sum(counted()) == 1)  # the run has ended a moment before its coordinator hears of it
        assert counted() == (1, 0, 0)
    assert (status.status, status.reason) == ("cancelled", "changed my mind")


@pytest.mark.parametrize("balance", get_args(Balance))
def test_bug_work_distribution_gives_all_work_to_one_agent(balance: Any) -> None:
    with system_of(Named, {"w1": SQL, "w2": SQL, "w3": SQL}, work=WorkSettings(balance=balance)) as system:
        for number in range(30):
            system.ask("coord", DistributeTask(number))
    assert min(Counter(Named.asked).values()) >= 3
    assert set(Named.asked) == {"w1", "w2", "w3"}
