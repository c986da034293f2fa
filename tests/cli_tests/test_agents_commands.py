"""`dspex agents ...` on systems of this process: what people see, what programs get, what becomes of the agents."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from agents_cli import Said, leaf, refused, run_agents, shop, top

from dspex_agents import (
    System,
    start_local_system,
)
from dspex_agents.agent import TreeNode
from dspex_agents.supervision.registry import Registration
from dspex_ray.cli.agents import COMMANDS
from dspex_ray.cli.agents.inspection import agent_json, find_agent
from dspex_ray.cli.agents.systems import choose
from dspex_ray.cli.agents.tree_view import tree_json
from dspex_ray.errors import ClusterError, UnknownNameError, UsageError

Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `dspex agents WORDS` on systems of this process."""
    return lambda words, *systems: run_agents(capsys, words, *systems)


@pytest.fixture
def system() -> Iterator[System]:
    with start_local_system(shop()) as started:
        yield started


# the tree ---------------------------------------------------------------------------------------------------
def test_the_json_of_a_tree_has_every_agent_and_survives_json(system: System) -> None:
    value = json.loads(json.dumps(tree_json(system.tree())))
    assert [child["id"] for child in value["children"]] == ["front", "team"]
    assert value["children"][1]["strategy"] == "one_for_all"
    assert value["children"][1]["children"][0]["agent"]["mailbox"] == 0


def test_watch_ends_with_ctrl_c_and_code_0_and_leaves_the_signal_as_it_was(run: Run, system: System) -> None:
    looks: list[TreeNode] = []

    class Watched(System):
        def tree(self, timeout_s: float = 10.0) -> TreeNode:
            looks.append(super().tree(timeout_s))
            if len(looks) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return looks[-1]

    before = signal.getsignal(signal.SIGINT)
    said = run("tree --watch --interval 0.1", Watched("shop", system._root, runtime="in-process"))
    assert (said.code, said.err) == (0, "")
    assert said.out.count("shop  3 agents") == len(looks) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_watch_and_json_exclude_each_other(run: Run, system: System) -> None:
    said = run("tree --watch --json", system)
    assert said.code == 2
    assert "cannot be used with --watch" in said.json["error"]["message"]


# which system ---------------------------------------------------------------------------------------------------
def test_the_only_system_needs_no_name_several_do_and_a_wrong_name_has_near_matches() -> None:
    assert choose(None, ["shop"]) == choose("shop", ["bank", "shop"]) == "shop"
    with pytest.raises(UsageError, match=r"2 systems run: bank, shop\. Say which one is meant"):
        choose(None, ["shop", "bank"])
    with pytest.raises(UnknownNameError, match=r"Unknown system 'shpo'\. Did you mean 'shop'\? Known: bank, shop"):
        choose("shpo", ["shop", "bank"])
    with pytest.raises(ClusterError, match="No system of agents runs on this cluster"):
        choose(None, [])


@pytest.mark.parametrize("words", ["tree", "metrics", "dead-letters", "inspect a", "mailbox a", "pause a", "stop a"])
def test_without_a_system_every_command_says_so_in_one_sentence(run: Run, words: str) -> None:
    refused(run(words), "No system of agents runs on this cluster. Start one from Python", 1)


def test_list_shows_each_system_with_its_agents_and_one_that_is_gone_as_silent(run: Run, system: System) -> None:
    with start_local_system(shop("bank")) as bank:
        bank.stop()
        said = run("list --json", system, bank)
        assert [row["name"] for row in said.json["systems"]] == ["bank", "shop"]
        assert [row["status"] for row in said.json["systems"]] == ["silent", "running"]
        assert said.json["systems"][1]["agents"] == "3 agents: 3 idle"
        assert "shop" in run("list", system).out
    assert run("list").out == "No system of agents runs on this cluster.\n"
    assert run("list --json").json == {"systems": []}


def test_with_two_systems_each_command_takes_the_name(run: Run, system: System) -> None:
    with start_local_system(shop("bank")) as bank:
        refused(run("tree", system, bank), "2 systems run: bank, shop")
        assert run("tree bank", system, bank).out.startswith("bank  3 agents")
        assert run("pause w1 --system bank --json", system, bank).json["paused"] == "w1"
        assert bank.status("w1").status == "paused"
        assert system.status("w1").status == "idle"


def test_a_system_that_does_not_answer_in_time_is_an_error_in_words(run: Run, system: System) -> None:
    class Slow(System):
        def tree(self, timeout_s: float = 10.0) -> TreeNode:
            raise TimeoutError("root.tree did not answer within 10 s")

    slow = Slow("slow", system._root, runtime="in-process")
    refused(run("tree", slow), "System 'slow' did not answer in time: root.tree did not answer within 10 s.", 1)


# one agent ------------------------------------------------------------------------------------------------------
def test_inspect_tells_place_figures_registration_and_details(run: Run, system: System) -> None:
    system.ask("w1", "hello")
    said = run("inspect w1 --json", system).json
    assert said["supervisors"] == ["top", "team"]
    assert said["figures"]["handled"] == 1
    assert said["registration"]["capabilities"] == ["sums"]
    assert said["registration"]["health"] == "healthy"
    text = run("inspect w1", system).out
    assert re.search(r"supervisors +top > team", text)
    assert re.search(r"messages +1 handled, 0 failed, 0 rejected", text)
    assert re.search(r"capabilities +sums", text)


def test_inspect_of_an_agent_that_is_down_tells_what_its_supervisor_knows() -> None:
    node, above = find_agent(top(top(TreeNode("w1", "agent", "backoff", 4, "boom"), id_="team")), "w1")
    value = agent_json(node, above, None)
    assert (value["status"], value["restarts"], value["last_reason"]) == ("backoff", 4, "boom")
    assert value["figures"] is value["registration"] is None


def test_capabilities_are_a_sorted_list_in_json() -> None:
    registration = Registration("w1", capabilities=frozenset({"b", "a"}))
    assert agent_json(leaf("w1"), (), registration)["registration"]["capabilities"] == ["a", "b"]


def test_pause_and_resume_reach_the_agent_and_tell_how_many_wait(run: Run, system: System) -> None:
    assert run(["pause", "w1", "--reason", "a ticket"], system).out == "Paused w1. 0 messages wait.\n"
    assert "paused: a ticket" in run("tree", system).out
    assert system.status("w1").status == "paused"
    assert run("resume w1 --json", system).json == {"resumed": "w1", "status": "idle", "mailbox": 0}
    assert system.status("w1").status == "idle"


def test_stop_ends_an_agent_for_good(run: Run, system: System) -> None:
    assert run("stop front --json", system).json == {"stopped": "front"}
    assert [node.id for node in system.tree().agents()] == ["w1", "w2"]
    refused(run("stop front", system), "Unknown agent 'front'")


def test_restart_gives_a_new_incarnation_and_counts_no_failure(run: Run, system: System) -> None:
    before = system.ask("front", "epoch")
    assert run("restart front", system).out == "Restarted front.\n"
    assert system.ask("front", "epoch") > before


def test_kill_ends_the_agent_and_its_supervisor_brings_it_back(run: Run, system: System) -> None:
    before = system.ask("front", "epoch")
    assert run("kill front --yes --json", system).json == {"killed": "front"}
    assert system.ask("front", "epoch", retry_safe=True) > before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code", "killed"), [("n\n", 1, False), ("y\n", 0, True)])
def test_kill_asks_first_and_no_means_no(
    run: Run, system: System, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, *, killed: bool
) -> None:
    before = system.ask("front", "epoch")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    said = run("kill front", system)
    assert said.code == code
    assert "Kill front of system shop?" in said.err
    assert said.out.strip() == ("Killed front." if killed else "Nothing was killed.")
    assert (system.ask("front", "epoch", retry_safe=True) > before) is killed


def test_kill_without_anybody_to_ask_needs_yes_and_kills_nothing(run: Run, system: System) -> None:
    before = system.ask("front", "epoch")
    refused(run("kill front", system), "add --yes")
    assert "add --yes" in run("kill front --json", system).json["error"]["message"]
    assert system.ask("front", "epoch") == before


@pytest.mark.parametrize("command", ["inspect", "pause", "resume", "stop", "restart", "kill --yes", "mailbox"])
def test_a_wrong_agents_name_is_refused_with_near_matches(run: Run, system: System, command: str) -> None:
    refused(run(f"{command} frnt", system), "Unknown agent 'frnt'. Did you mean 'front'? Known: front, w1, w2.")


def test_mailbox_shows_who_waits_next_first(run: Run, system: System, wait: Callable[..., None]) -> None:
    system.pause("w1")
    asking = [
        threading.Thread(target=system.ask, args=("w1", f"[bold]question {n}"), kwargs={"timeout_s": 20.0})
        for n in range(3)
    ]
    for n, thread in enumerate(asking):
        thread.start()
        wait(lambda n=n: system.status("w1").mailbox == n + 1, what="the message in the mailbox")
    told = run("mailbox w1 --limit 2 --json", system).json
    text = run("mailbox w1", system).out
    system.resume("w1")
    for thread in asking:
        thread.join(20)
    assert [message["preview"] for message in told["waiting"]] == ["'[bold]question 0'", "'[bold]question 1'"]
    assert text.index("[bold]question 0") < text.index("[bold]question 2")
    assert run("mailbox w1", system).out == "No message waits at w1.\n"


# the command line -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_every_command_has_help_and_takes_json_and_debug(run: Run, command: str) -> None:
    said = run(f"{command} --help")
    assert (said.code, said.err) == (0, "")
    assert "Usage: dspex agents" in said.out
    if command:
        assert "--json" in said.out
        assert "--debug" in said.out
        assert "--address" in said.out


def test_a_wrong_option_points_to_the_help_of_its_command(run: Run) -> None:
    refused(run("tree --wach"), "No such option: --wach")
    assert "See `dspex agents tree --help`." in run("tree --wach").err
    assert "See `dspex agents --help`." in run("tre").err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("tree --interval 0", "--interval"),
        ("tree --limit 0", "--limit"),
        ("mailbox a --limit 0", "--limit"),
        ("metrics --serve 70000", "--serve"),
        ("dead-letters --older-than -1", "--older-than"),
    ],
)
def test_numbers_out_of_range_are_refused_with_the_option(run: Run, words: str, option: str) -> None:
    refused(run(words), f"Invalid value for '{option}'")


def test_no_help_of_agents_loads_ray_or_prometheus() -> None:
    script = (
        "import sys; from dspex_ray.cli.main import _run; _run(['agents', 'metrics', '--help']);"
        "print([name for name in ('ray', 'litellm', 'prometheus_client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
