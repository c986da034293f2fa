"""What every runtime must do. Subclasses give the `start` fixture; the same scenarios run in-process and on Ray."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable

import pytest
from sample_agents import Echo, FailsToStart, Squarer, SumOfSquares
from sample_trees import FixedProbe

from dspex_agents import (
    AgentFailedError,
    CancelPlan,
    ChildSpec,
    CoordinatorAgent,
    DeadlineExceededError,
    GetAlerts,
    GetHealth,
    GetProgress,
    MailboxFullError,
    MonitorAgent,
    OutcomeUnknownError,
    RunPlan,
    SupervisorSpec,
    System,
    SystemSpec,
    SystemStoppedError,
    TaskAgent,
    UnknownAgentError,
)
from dspex_agents.errors import AgentStoppedError
from dspex_agents.messaging.message import Cancel

Start = Callable[..., System]
_names = itertools.count(1)


def spec_of(*children: ChildSpec | SupervisorSpec, spare_hosts: int = 0, **supervisor: object) -> SystemSpec:
    top = SupervisorSpec(id="top", children=children, **supervisor)
    return SystemSpec(name=f"test-{next(_names)}", supervisor=top, spare_hosts=spare_hosts)


def echo(id_: str = "echo", **fields: object) -> ChildSpec:
    kwargs = {k: fields.pop(k) for k in ("concurrency", "mailbox_size", "overflow") if k in fields}
    return ChildSpec(id=id_, start=Echo, kwargs=kwargs, **fields)


def monitor() -> ChildSpec:
    return ChildSpec(id="monitor", start=MonitorAgent, kwargs={"probe": FixedProbe()})


def team(*, own: bool = False) -> tuple[ChildSpec, ...]:
    isolation = "own" if own else "shared"
    workers = tuple(
        ChildSpec(id=f"w{i}", start=TaskAgent, kwargs={"worker": Squarer, "concurrency": 4}, isolation=isolation)
        for i in (1, 2)
    )
    return (*workers, ChildSpec(id="coord", start=CoordinatorAgent, kwargs={"members": ("w1", "w2")}))


class RuntimeContract:
    """Scenarios every runtime must pass."""

    def test_an_agent_answers_and_the_answer_is_the_value(self, start: Start) -> None:
        system = start(spec_of(echo()))
        assert system.ask("echo", {"a": [1, 2]}) == {"a": [1, 2]}
        assert asyncio.run(system.aask("echo", "async too")) == "async too"

    def test_an_agents_exception_reaches_the_asker_and_the_agent_lives_on(self, start: Start) -> None:
        system = start(spec_of(echo()))
        with pytest.raises(AgentFailedError, match="ValueError: boom") as caught:
            system.ask("echo", "boom")
        assert isinstance(caught.value.cause, ValueError)
        assert system.ask("echo", 1) == 1
        assert system.status("echo").failed == 1

    def test_agents_ask_each_other_by_name(self, start: Start) -> None:
        system = start(spec_of(echo("a"), echo("b", host="elsewhere")))
        assert system.ask("a", ("ask", "b", "hello")) == "hello"

    def test_an_unknown_name_is_refused_with_near_matches(self, start: Start) -> None:
        system = start(spec_of(echo("router")))
        with pytest.raises(UnknownAgentError, match="Did you mean 'router'"):
            system.ask("ruoter", 1)

    def test_a_crashed_agent_is_restarted_with_a_new_epoch(self, start: Start) -> None:
        system = start(spec_of(echo()))
        before = system.ask("echo", "epoch")
        with pytest.raises(AgentStoppedError, match="crashed on request"):
            system.ask("echo", "exit-crash")
        assert system.ask("echo", "epoch") > before
        (node,) = system.tree().agents()
        assert (node.restarts, node.last_reason) == (1, "crashed on request")

    def test_a_transient_agent_that_ends_normally_stays_down_and_says_so(self, start: Start) -> None:
        system = start(spec_of(echo(restart="temporary")))
        with pytest.raises(AgentStoppedError):
            system.ask("echo", "exit-crash")
        with pytest.raises(SystemStoppedError, match="will not be"):
            system.ask("echo", 1, timeout_s=5)

    def test_too_many_restarts_end_the_system_and_the_asker_learns_why(self, start: Start) -> None:
        system = start(spec_of(echo(), intensity=1))
        for _ in range(2):
            with pytest.raises((AgentStoppedError, SystemStoppedError)):
                system.ask("echo", "exit-crash")
        with pytest.raises(SystemStoppedError, match=r"intensity|gone"):
            system.ask("echo", 1, retry_safe=True)

    def test_one_for_all_restarts_the_neighbours_too(self, start: Start) -> None:
        system = start(spec_of(echo("a"), echo("b"), strategy="one_for_all"))
        before = system.ask("a", "epoch")
        with pytest.raises(AgentStoppedError):
            system.ask("b", "exit-crash")
        assert system.ask("b", 1) == 1
        assert system.ask("a", "epoch") > before

    def test_a_nested_supervisor_that_gives_up_is_restarted_by_its_own(self, start: Start) -> None:
        inner = SupervisorSpec(id="inner", children=(echo("leaf"),), intensity=0)
        system = start(spec_of(inner, echo("other")))
        before = system.ask("leaf", "epoch")
        with pytest.raises(AgentStoppedError):
            system.ask("leaf", "exit-crash")
        assert system.ask("leaf", "epoch", timeout_s=10) > before
        assert [n.id for n in system.tree().agents()] == ["leaf", "other"]

    def test_an_agent_that_cannot_start_fails_the_start_with_its_own_reason(self, start: Start) -> None:
        with pytest.raises(RuntimeError, match="no licence"):
            start(spec_of(echo(), ChildSpec(id="bad", start=FailsToStart)))

    def test_a_message_past_its_deadline_is_answered_with_an_error(self, start: Start) -> None:
        system = start(spec_of(echo()))
        with pytest.raises(DeadlineExceededError):
            system.ask("echo", "wait", timeout_s=0.3)
        assert system.ask("echo", 1) == 1

    def test_a_paused_agent_keeps_its_mail_and_still_answers_status_and_resume(self, start: Start) -> None:
        system = start(spec_of(echo()))
        assert system.pause("echo").status == "paused"
        with pytest.raises(DeadlineExceededError):
            system.ask("echo", "lost", timeout_s=0.2)
        answers: list[object] = []
        asker = threading.Thread(target=lambda: answers.append(system.ask("echo", "kept", timeout_s=20)))
        asker.start()
        while system.status("echo").mailbox == 0:
            pass
        assert system.resume("echo").status != "paused"
        asker.join(20)
        assert answers == ["kept"]
        assert system.ask("echo", "seen") == ["kept"]

    def test_status_answers_while_the_mailbox_is_full_and_the_work_slow(self, start: Start) -> None:
        system = start(spec_of(echo(mailbox_size=1)))
        askers = [threading.Thread(target=lambda: system.ask("echo", "wait", timeout_s=20)) for _ in range(2)]
        for asker in askers:
            asker.start()
        while system.status("echo").mailbox == 0 or system.status("echo").in_flight == 0:
            pass
        with pytest.raises(MailboxFullError, match="1 messages wait"):
            system.ask("echo", 1)
        assert system.ask("echo", "open", control=True)
        for asker in askers:
            asker.join(20)
        assert system.status("echo").handled == 2

    def test_a_running_message_can_be_cancelled(self, start: Start) -> None:
        system = start(spec_of(echo()))
        assert system.ask("echo", Cancel("no such message"), control=True) is False

    def test_two_messages_of_one_key_are_handled_once(self, start: Start) -> None:
        system = start(spec_of(echo()))
        assert [system.ask("echo", n, key="same") for n in (1, 2)] == [1, 1]
        assert system.ask("echo", "seen") == [1]

    def test_a_coordinator_drives_a_plan_over_its_members(self, start: Start) -> None:
        system = start(spec_of(*team()))
        result = system.ask("coord", RunPlan("r", SumOfSquares, {"n": 50}))
        assert result == {"sum": sum(i * i for i in range(51)), "done": 50, "errors": []}
        done = [system.status(name).details["done"] for name in ("w1", "w2")]
        assert sum(done) == 50
        assert min(done) > 0

    def test_a_coordinator_tells_progress_and_cancels_while_a_plan_runs(self, start: Start) -> None:
        system = start(spec_of(*team()))
        results: list[dict] = []
        order = RunPlan("r", SumOfSquares, {"n": 2000, "pause_s": 0.05})
        asker = threading.Thread(target=lambda: results.append(system.ask("coord", order, timeout_s=40)))
        asker.start()
        while "r" not in system.status("coord").details["runs"]:
            pass
        while not system.ask("coord", GetProgress("r"), control=True).get("done"):
            pass
        assert system.ask("coord", CancelPlan("r"), control=True)
        asker.join(40)
        assert 0 < results[0]["done"] < 2000

    def test_the_monitor_sees_every_agent_and_scores_a_healthy_system_100(self, start: Start) -> None:
        system = start(spec_of(echo(), monitor()))
        health = system.ask("monitor", GetHealth(fresh=True), control=True)
        assert (health.score, health.alive, health.agents) == (100.0, 2, 2)

    def test_the_monitor_raises_an_alert_for_an_agent_that_is_down_once(self, start: Start) -> None:
        system = start(spec_of(echo(restart="temporary"), monitor()))
        with pytest.raises(AgentStoppedError):
            system.ask("echo", "exit-crash")
        with pytest.raises(SystemStoppedError):
            system.ask("echo", 1)
        for _ in range(3):
            health = system.ask("monitor", GetHealth(fresh=True), control=True)
        (alert,) = system.ask("monitor", GetAlerts(), control=True)
        assert (alert.alert.id, alert.seen) == ("down:echo", 3)
        assert health.band in ("poor", "fair")

    def test_a_stopped_system_answers_nothing_and_says_so(self, start: Start) -> None:
        system = start(spec_of(echo()))
        system.stop()
        system.stop()
        with pytest.raises(Exception, match=r"gone|closed|stopped"):
            system.ask("echo", 1, timeout_s=1)

    def kill_host_of(self, system: System, agent: str) -> None:
        """End the process of the agent as hard as the runtime can."""
        raise NotImplementedError

    def test_an_agent_whose_process_is_killed_comes_back_and_its_neighbours_never_notice(self, start: Start) -> None:
        system = start(spec_of(echo("a", isolation="own"), echo("b"), spare_hosts=1))
        b_before = system.ask("b", "epoch")
        a_before = system.ask("a", "epoch")
        self.kill_host_of(system, "a")
        assert system.ask("a", "epoch", retry_safe=True) > a_before
        assert system.ask("b", "epoch") == b_before

    def test_a_message_in_flight_when_the_process_dies_is_reported_as_of_unknown_outcome(self, start: Start) -> None:
        system = start(spec_of(echo("a", isolation="own")))
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                system.ask("a", "wait", timeout_s=20)
            except OutcomeUnknownError as error:
                caught.append(error)

        asker = threading.Thread(target=ask)
        asker.start()
        while system.status("a").in_flight == 0:
            pass
        self.kill_host_of(system, "a")
        asker.join(20)
        assert "may have been handled" in str(caught[0])

    def test_a_plan_loses_nothing_when_a_members_process_is_killed(self, start: Start) -> None:
        system = start(spec_of(*team(own=True), spare_hosts=1))
        results: list[dict] = []
        order = RunPlan("r", SumOfSquares, {"n": 100, "pause_s": 0.02})
        asker = threading.Thread(target=lambda: results.append(system.ask("coord", order, timeout_s=40)))
        asker.start()
        while system.status("w1").details["done"] < 3:
            pass
        self.kill_host_of(system, "w1")
        asker.join(40)
        assert results == [{"sum": sum(i * i for i in range(101)), "done": 100, "errors": []}]
