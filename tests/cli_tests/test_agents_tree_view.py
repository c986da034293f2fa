"""The tree as people see it: what a line tells, what is summed up, what is in colour, and how a watch goes on."""

from __future__ import annotations

import re
import time

import pytest
from agents_cli import leaf, printed, top

from dspex_agents import (
    ManualClock,
    SystemStoppedError,
)
from dspex_agents.agent import TreeNode
from dspex_ray.cli.agents.tree import Lookout
from dspex_ray.cli.agents.tree_view import summary, tree_for_people


# the tree, as a view --------------------------------------------------------------------------------------------
def test_a_line_of_the_tree_tells_state_mailbox_work_restarts_reason_and_place() -> None:
    node = leaf("w1", "processing", restarts=2, reason="killed: its process died", mailbox=3, in_flight=1, handled=12)
    (line,) = (text for text in printed(tree_for_people("shop", top(node), 50)).splitlines() if "w1" in text)
    assert line.endswith(
        "w1  processing  Echo  mailbox 3/1000  in flight 1/1  handled 12  failed 0  restarts 2  "
        "last end: killed: its process died  shared@1 (pid 4711, 98 MiB) on 01234567"
    )


def test_the_heading_counts_agents_by_status_and_memory_once_for_each_process() -> None:
    text = printed(tree_for_people("shop", top(leaf("a"), leaf("b", "paused"), top(leaf("c"), id_="inner")), 50))
    assert text.splitlines()[0] == "shop  3 agents: 2 idle, 1 paused; 1 process, 98 MiB"


def test_children_beyond_the_limit_are_summed_up_by_status_and_the_unsound_are_among_the_shown() -> None:
    crowd = [leaf(f"a{n:05}") for n in range(10_000)]
    crowd[7000], crowd[9000] = leaf("a07000", "backoff", reason="boom"), leaf("a09000", "processing")
    lines = printed(tree_for_people("shop", top(*crowd), 50)).splitlines()
    assert lines[0].startswith("shop  10,000 agents: 9,998 idle, 1 backoff, 1 processing;")
    assert len(lines) == 1 + 1 + 50 + 1
    assert "a07000" in lines[51]  # in its place: last of those shown
    assert lines[52].endswith("... and 9,950 more agents: 9,949 idle, 1 processing")


def test_supervisors_beyond_the_limit_are_summed_up_with_the_agents_below_them() -> None:
    teams = [top(leaf(f"x{n}"), leaf(f"y{n}", "paused"), id_=f"team{n}") for n in range(5)]
    text = printed(tree_for_people("shop", top(*teams), 3))
    assert "... and 2 supervisors with 4 agents: 2 idle, 2 paused" in text


def test_ten_thousand_agents_are_drawn_within_a_second() -> None:
    node = top(*(leaf(f"a{n}") for n in range(10_000)))
    started = time.perf_counter()
    printed(tree_for_people("shop", node, 50))
    assert time.perf_counter() - started < 1.0


def test_an_agent_without_figures_shows_its_status_and_why_it_ended() -> None:
    silent = TreeNode("w1", "agent", "backoff", 3, "failed to start: no licence")
    text = printed(tree_for_people("shop", top(silent), 50))
    assert "w1  backoff  restarts 3  last end: failed to start: no licence" in text
    assert "0 processes, 0 MiB" in text


def test_free_text_is_printed_as_it_is_and_never_read_as_markup() -> None:
    text = printed(tree_for_people("shop", top(leaf("w1", "paused", paused="[red]see [/ticket]")), 50))
    assert "paused: [red]see [/ticket]" in text


def test_states_are_coloured_and_a_full_mailbox_is_red() -> None:
    node = top(leaf("w1", "backoff"), leaf("w2", mailbox=1000), leaf("w3"))
    text = printed(tree_for_people("shop", node, 50), force_terminal=True, color_system="standard")
    assert re.search(r"\x1b\[[0-9;]*33mbackoff", text)
    assert re.search(r"\x1b\[[0-9;]*31m  mailbox 1000/1000", text)
    assert re.search(r"\x1b\[[0-9;]*32midle", text)


def test_a_summary_of_nothing_is_no_list() -> None:
    assert summary([]) == "0 agents"
    assert summary([leaf("a")]) == "1 agent: 1 idle"


# watching -------------------------------------------------------------------------------------------------------
class Scripted:
    """A system whose looks are given."""

    name = "shop"

    def __init__(self, *looks: TreeNode | Exception) -> None:
        self._looks = list(looks)

    def tree(self) -> TreeNode:
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if isinstance(look, Exception):
            raise look
        return look


def test_while_a_system_is_rebuilt_the_last_look_stands_with_its_age_and_then_the_new_one() -> None:
    clock = ManualClock()
    lookout = Lookout(Scripted(top(leaf("a")), SystemStoppedError("Being rebuilt."), top(leaf("b"))), 50, clock)
    lookout.look()
    clock.advance(3.0)
    text = printed(lookout.look())
    assert "a  idle" in text
    assert "Being rebuilt. This is how it was 3 s ago." in text
    assert "b  idle" in printed(lookout.look())


def test_a_system_that_is_gone_ends_the_watch_after_half_a_minute() -> None:
    clock = ManualClock()
    lookout = Lookout(Scripted(top(leaf("a")), SystemStoppedError("It is gone.")), 50, clock)
    lookout.look()
    clock.advance(30.0)
    lookout.look()
    clock.advance(0.1)
    with pytest.raises(SystemStoppedError, match="It is gone"):
        lookout.look()


def test_a_system_that_never_answers_is_no_watch_at_all() -> None:
    with pytest.raises(TimeoutError):
        Lookout(Scripted(TimeoutError()), 50).look()
