"""The team of a coordinator in a system: who is taken in, who is dropped, and single tasks given to members."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from runtime_contract import spec_of
from sample_agents import Echo
from team_agents import Held, Listener, Named

from dspex_agents import (
    AgentFailedError,
    BreakerSettings,
    ChildSpec,
    CoordinatorAgent,
    RunPlan,
    SpecError,
    System,
    TaskAgent,
    start_local_system,
)
from dspex_agents.supervision.registry import Query
from dspex_agents.teamwork.member_pool import NoCapableMemberError
from dspex_agents.teamwork.run_messages import (
    DistributeTask,
    GetCoordinationMetrics,
    GetRunStatus,
    RegisterMembers,
    StartPlan,
    UnregisterMembers,
)
from dspex_agents.teamwork.runs import RunsSettings
from dspex_agents.teamwork.task_workflow import Task, TaskWorkflow
from dspex_agents.teamwork.team import WorkSettings

SQL, GPU = frozenset({"sql"}), frozenset({"gpu"})


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Held.reset()
    Named.reset()
    yield
    Held.gate.set()


def worker(name: str, capabilities: frozenset[str] = frozenset(), kind: type = Named, **fields: Any) -> ChildSpec:
    kwargs = {"worker": kind, "concurrency": 4}
    return ChildSpec(id=name, start=TaskAgent, kwargs=kwargs, capabilities=capabilities, **fields)


def started(*members: ChildSpec, **options: Any) -> System:
    boss = ChildSpec(id="coord", start=CoordinatorAgent, kwargs={"bus": "bus", **options})
    return start_local_system(spec_of(*members, ChildSpec(id="bus", start=Listener), boss))


def heard(system: System, kind: str) -> list[dict[str, Any]]:
    return [data for said, data in system.ask("bus", "heard") if said == kind]


def team(system: System) -> set[str]:
    return set(system.status("coord").details["team"])


class TestRegistering:
    def test_members_are_taken_in_at_run_time_and_those_that_cannot_be_are_reported(self, wait: Any) -> None:
        bare = ChildSpec(id="bare", start=Echo)
        with started(worker("w1", SQL), worker("w2", SQL | GPU), bare) as system:
            order = RegisterMembers(("w1", "bare", "nobody", "w2"), capabilities=GPU)
            answer = system.ask("coord", order)
            assert answer.registered == ("w2",)
            assert answer.failed == {
                "w1": "it lacks gpu",
                "bare": "it declares no capabilities",
                "nobody": "no agent of this name is running",
            }
            assert system.ask("coord", DistributeTask("x")) == ("w2", "x")
            wait(lambda: heard(system, "members_registered") == [{"members": ["w2"]}])

    def test_a_run_under_way_works_with_whoever_is_registered_meanwhile(self, wait: Any) -> None:
        tasks = [Task(str(n), n) for n in range(6)]
        with started(worker("w1", kind=Held), worker("w2", kind=Held), members=("w1",)) as system:
            system.ask("coord", StartPlan(TaskWorkflow, {"id": "w", "tasks": tasks}, "r"))
            wait(lambda: Held.begun == {"w1": 2})
            system.ask("coord", RegisterMembers(("w2",)))
            wait(lambda: Held.begun == {"w1": 2, "w2": 2})
            assert system.ask("coord", UnregisterMembers(("w1", "x"))) == ("w1",)
            Held.gate.set()
            wait(lambda: system.ask("coord", GetRunStatus("r"), control=True).status == "completed")
        assert Held.begun == {"w1": 2, "w2": 4}

    def test_a_dead_member_is_dropped_and_the_others_go_on(self, wait: Any) -> None:
        members = (worker("w1", restart="temporary"), worker("w2"))
        with started(*members, members=("w1", "w2", "later"), runs=RunsSettings(check_s=0.05)) as system:
            assert team(system) == {"w1", "w2", "later"}
            system.kill_child("w1")
            wait(lambda: team(system) == {"w2", "later"})
            wait(lambda: heard(system, "dead_members_removed") == [{"members": ["w1"]}])
            assert {system.ask("coord", DistributeTask(n))[0] for n in range(4)} == {"w2"}
            system.start_child("top", worker("later"))
            wait(lambda: system.ask("coord", DistributeTask(0))[0] == "later")


class TestByCapability:
    def test_whoever_has_the_capability_is_a_member_newcomers_too(self, wait: Any) -> None:
        query = Query(capabilities=SQL)
        with started(worker("w1", SQL), worker("w2"), query=query, work=WorkSettings(refresh_s=0.02)) as system:
            assert {system.ask("coord", DistributeTask(n))[0] for n in range(4)} == {"w1"}
            system.start_child("top", worker("w3", SQL))
            wait(lambda: system.ask("coord", DistributeTask(0))[0] == "w3")
            system.stop_child("w1")
            wait(lambda: {system.ask("coord", DistributeTask(n))[0] for n in range(4)} == {"w3"})

    def test_a_run_waits_for_a_newcomer_that_has_what_is_needed(self, wait: Any) -> None:
        work = WorkSettings(refresh_s=0.02)
        tasks = [Task("a", 1, needs=SQL), Task("b", 2, needs=GPU)]
        with started(worker("w1", SQL), query=Query(capabilities=frozenset({"task"})), work=work) as system:
            system.ask("coord", StartPlan(TaskWorkflow, {"id": "w", "tasks": tasks}, "r"))
            wait(lambda: system.ask("coord", GetRunStatus("r"), control=True).results == {"a": ("w1", 1)})
            system.start_child("top", worker("w2", GPU))
            wait(lambda: system.ask("coord", GetRunStatus("r"), control=True).status == "completed")
            assert system.ask("coord", GetRunStatus("r"), control=True).assigned == {"w1": 1, "w2": 1}

    def test_a_run_that_nobody_came_for_fails_with_what_was_needed(self, wait: Any) -> None:
        work = WorkSettings(refresh_s=0.02, member_wait_s=0.1)
        with started(worker("w1", SQL), members=("w1",), work=work) as system:
            order = RunPlan("r", TaskWorkflow, {"id": "w", "tasks": [Task("a", needs=GPU)]})
            with pytest.raises(NoCapableMemberError, match=r"all of gpu\. 'w1' has sql, task") as caught:
                system.ask("coord", order)
            wait(lambda: heard(system, "no_suitable_agents") == [{"run_id": "r", "needs": ["gpu"]}])
        assert caught.value.needs == GPU


class TestDistributing:
    def test_a_task_that_a_member_loses_is_done_by_another_one_which_is_told(self, wait: Any) -> None:
        Named.failing = {"w1"}
        with started(worker("w1"), worker("w2"), members=("w1", "w2")) as system:
            assert system.ask("coord", DistributeTask("x")) == ("w2", "x")
            wait(lambda: len(heard(system, "task_recovered")) == 1)
            (said,) = heard(system, "task_recovered")
            figures = system.ask("coord", GetCoordinationMetrics(), control=True)
        assert (said["member"], said["attempt"]) == ("w2", 2)
        assert (figures.tasks, figures.members["w1"].failures, figures.members["w2"].failures) == (1, 1, 0)

    def test_a_member_that_keeps_failing_is_left_alone_until_it_is_tried_again(self, wait: Any) -> None:
        Named.failing = {"w1"}
        work = WorkSettings(breaker=BreakerSettings(failure_threshold=2, success_threshold=1, reset_s=0.3))
        with started(worker("w1"), worker("w2"), members=("w1", "w2"), work=work) as system:
            while Named.asked.count("w1") < 2:
                system.ask("coord", DistributeTask(0))
            Named.reset()
            assert system.ask("coord", DistributeTask(0))[0] == "w2"
            wait(lambda: system.ask("coord", DistributeTask(0))[0] == "w1")
            state = system.ask("coord", GetCoordinationMetrics(), control=True).members["w1"].state
        assert state == "closed"

    def test_what_the_task_itself_raises_reaches_the_asker_and_is_tried_once(self) -> None:
        with started(worker("w1", kind=Held), worker("w2", kind=Held), members=("w1", "w2")) as system:
            Held.gate.set()
            with pytest.raises(AgentFailedError, match="TypeError"):
                system.ask("coord", DistributeTask("no number"))
            members = system.ask("coord", GetCoordinationMetrics(), control=True).members
        assert Held.begun.total() == 1
        assert {f.failures for f in members.values()} == {0}

    def test_tasks_of_one_affinity_meet_at_one_member(self) -> None:
        with started(worker("w1"), worker("w2"), worker("w3"), members=("w1", "w2", "w3")) as system:
            assert len({system.ask("coord", DistributeTask(n, affinity="row 7"))[0] for n in range(9)}) == 1

    @pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
    def test_a_time_limit_that_is_none_is_refused(self, timeout_s: float) -> None:
        with pytest.raises(SpecError, match=r"DistributeTask\.timeout_s must be a number of seconds above 0"):
            DistributeTask(1, timeout_s=timeout_s)
