"""What every runtime must do about children that come and go, agents that hang, and hosts shared by many."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hanging_agents import LastWords
from runtime_contract import Start, echo, spec_of
from sample_agents import FailsToStart

from dspex_agents import (
    AgentStoppedError,
    ChildSpec,
    HostGroup,
    SpecError,
    SupervisorSpec,
    System,
    SystemSpec,
    SystemStoppedError,
    UnknownAgentError,
)


def settled(system: System, name: str, after: int) -> int:
    """Return the epoch of the agent's next incarnation, once it answers."""
    deadline = time.monotonic() + 20
    while (epoch := system.ask(name, "epoch", retry_safe=True)) <= after:
        assert time.monotonic() < deadline, f"{name} was not restarted"
    return int(epoch)


def ask_until_refused(system: System, name: str) -> None:
    """Ask again and again: an agent may answer once more before the news of its end is there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        system.ask(name, 1, timeout_s=5, retry_safe=True)


class ChildrenContract:
    """Scenarios every runtime must pass; subclasses give `start`."""

    def test_a_child_added_at_run_time_answers_and_is_restarted_like_any_other(self, start: Start) -> None:
        system = start(spec_of(echo("old")))
        system.start_child("top", echo("new"))
        before = system.ask("new", "epoch")
        with pytest.raises(AgentStoppedError):
            system.ask("new", "exit-crash")
        assert settled(system, "new", before) > before
        assert [node.id for node in system.tree().agents()] == ["old", "new"]

    def test_a_hundred_children_start_in_one_go_and_each_answers(self, start: Start) -> None:
        pool = SupervisorSpec(id="pool")
        system = start(spec_of(pool))
        names = [f"a{n}" for n in range(100)]
        system.start_children("pool", [echo(name) for name in names])
        assert [system.ask(name, name) for name in names] == names

    def test_a_child_that_cannot_start_is_not_kept_and_its_companions_neither(self, start: Start) -> None:
        system = start(spec_of(echo("old")))
        with pytest.raises(RuntimeError, match="no licence"):
            system.start_children("top", [echo("fine"), ChildSpec(id="bad", start=FailsToStart)])
        assert [node.id for node in system.tree().agents()] == ["old"]
        system.start_child("top", echo("fine"))
        assert system.ask("fine", 1) == 1

    def test_an_id_in_use_and_an_unknown_supervisor_are_refused_by_name(self, start: Start) -> None:
        system = start(spec_of(echo("old")))
        with pytest.raises(SpecError, match="twice: old"):
            system.start_child("top", echo("old"))
        with pytest.raises(SpecError, match="No supervisor 'elsewhere'"):
            system.start_child("elsewhere", echo("new"))

    def test_a_stopped_child_is_forgotten_and_its_id_may_come_again(self, start: Start) -> None:
        system = start(spec_of(echo("old")))
        system.start_child("top", echo("new"))
        assert system.stop_child("new")
        assert not system.stop_child("new")
        with pytest.raises((UnknownAgentError, SystemStoppedError)):
            system.ask("new", 1, timeout_s=5)
        system.start_child("top", echo("new"))
        assert system.ask("new", 2) == 2

    def test_a_child_is_told_why_it_is_stopped(self, start: Start, tmp_path: Path) -> None:
        system = start(spec_of(echo("old")))
        system.start_child("top", ChildSpec(id="new", start=LastWords, kwargs={"path": str(tmp_path / "why")}))
        system.stop_child("new", "no longer needed")
        assert (tmp_path / "why").read_text() == "no longer needed"

    def test_a_temporary_child_that_ends_leaves_nothing_in_the_tree(self, start: Start) -> None:
        system = start(spec_of(echo("old")))
        system.start_child("top", echo("once", restart="temporary"))
        with pytest.raises(AgentStoppedError):
            system.ask("once", "exit-normal")
        with pytest.raises(SystemStoppedError, match="it ended"):
            system.ask("once", 1, timeout_s=5)
        assert [node.id for node in system.tree().agents()] == ["old"]

    def test_a_restart_by_hand_counts_as_no_failure(self, start: Start) -> None:
        system = start(spec_of(echo("a"), intensity=0))
        before = system.ask("a", "epoch")
        system.restart_child("a")
        assert system.ask("a", "epoch") > before
        assert system.tree().agents()[0].restarts == 0

    def test_a_killed_child_comes_back_and_its_host_mates_never_notice(self, start: Start) -> None:
        system = start(spec_of(echo("a"), echo("b")))
        before = {name: system.ask(name, "epoch") for name in ("a", "b")}
        system.kill_child("a")
        assert settled(system, "a", before["a"]) > before["a"]
        assert system.ask("b", "epoch") == before["b"]

    def test_agents_are_found_by_all_their_capabilities(self, start: Start) -> None:
        system = start(
            spec_of(
                echo("a", capabilities=frozenset({"math", "code"})),
                echo("b", capabilities=frozenset({"math"})),
                echo("c"),
            )
        )
        assert [r.name for r in system.find(capabilities=frozenset({"math", "code"}))] == ["a"]
        assert {r.name for r in system.find(capabilities=frozenset({"math"}))} == {"a", "b"}
        system.stop_child("a")
        assert [r.name for r in system.find(capabilities=frozenset({"math"}))] == ["b"]

    def test_a_message_without_progress_for_too_long_restarts_its_agent(self, start: Start) -> None:
        top = SupervisorSpec(id="top", children=(echo("a", stall_s=0.2), echo("b")))
        system = start(SystemSpec(name=f"stall-{time.time_ns()}", supervisor=top, heartbeat_s=0.05))
        before = system.ask("a", "epoch")
        with pytest.raises(Exception, match="stalled"):
            system.ask("a", "wait", timeout_s=20)
        assert settled(system, "a", before) > before
        assert "stalled" in system.tree().agents()[0].last_reason

    def test_the_end_of_any_significant_child_ends_its_supervisor(self, start: Start) -> None:
        lead = echo("lead", restart="transient", significant=True)
        inner = SupervisorSpec(
            id="inner", children=(lead, echo("helper")), auto_shutdown="any_significant", restart="transient"
        )
        system = start(spec_of(inner, echo("other")))
        with pytest.raises(AgentStoppedError):
            system.ask("lead", "exit-normal")
        with pytest.raises(SystemStoppedError, match="will not be"):
            ask_until_refused(system, "helper")
        assert system.ask("other", 1) == 1

    def test_children_start_after_those_they_depend_on(self, start: Start) -> None:
        system = start(spec_of(echo("b", depends_on=("a",)), echo("c"), echo("a")))
        assert [node.id for node in system.tree().agents()] == ["a", "b", "c"]

    def test_a_group_of_hosts_grows_with_its_agents(self, start: Start) -> None:
        top = SupervisorSpec(id="top", children=tuple(echo(f"a{n}", host="pool") for n in range(5)))
        group = HostGroup(name="pool", most_agents=2)
        system = start(SystemSpec(name=f"grow-{time.time_ns()}", supervisor=top, hosts=(group,)))
        assert len({node.host for node in system.tree().agents()}) == 3

    def kill_host_of(self, system: System, agent: str) -> None:
        """End the process of the agent as hard as the runtime can."""
        raise NotImplementedError

    def test_the_death_of_a_process_with_many_agents_counts_as_one_restart(self, start: Start) -> None:
        pool = SupervisorSpec(id="pool", children=tuple(echo(f"a{n}", host="pool") for n in range(20)), intensity=1)
        system = start(spec_of(pool, echo("other"), spare_hosts=1))
        before: dict[str, Any] = {f"a{n}": system.ask(f"a{n}", "epoch") for n in range(20)}
        self.kill_host_of(system, "a7")
        for name, epoch in before.items():
            assert settled(system, name, epoch) > epoch
        assert {node.restarts for node in system.tree().agents() if node.id != "other"} == {1}
