"""The roster as a table: agents come, work, restart and go; every rate is that of the recent window."""

from __future__ import annotations

from typing import Any

import pytest
from sample_trees import down, up

from dspex_agents.agent import TreeNode
from dspex_agents.monitoring.roster import AgentFigures, Roster, Step


def look(roster: Roster, now: float, *nodes: TreeNode) -> tuple[list[AgentFigures], list[str], list[str]]:
    roster.begin()
    figures = [roster.observe(node, now)[0] for node in nodes]
    return (figures, *roster.end())


def test_agents_are_enrolled_by_being_there_and_forgotten_when_they_are_gone() -> None:
    roster = Roster()
    assert look(roster, 0, up("a"), down("b"))[1:] == (["a", "b"], [])
    assert look(roster, 5, up("a"), down("b"))[1:] == ([], [])
    assert look(roster, 10, up("a"), up("c"))[1:] == (["c"], ["b"])
    assert len(roster) == 2
    assert look(roster, 15)[1:] == ([], ["a", "c"])
    assert len(roster) == 0


def test_an_agent_that_came_during_a_look_that_broke_off_is_told_at_the_next_one() -> None:
    roster = Roster()
    roster.begin()
    roster.observe(up("a"), 0)
    assert look(roster, 5, up("a"))[1:] == (["a"], [])


def test_the_error_rate_is_that_of_the_window_and_not_of_all_history() -> None:
    roster = Roster(window_s=60)
    (first,), *_ = look(roster, 10_000, up("a", handled=0, failed=1000))
    assert first.error_rate is None  # it may all be long ago
    (second,), *_ = look(roster, 10_010, up("a", handled=95, failed=1005))
    assert (second.done, second.error_rate) == (100, 5.0)


def test_all_that_a_young_agent_did_is_recent() -> None:
    (figures,), *_ = look(Roster(), 1030, up("a", started_at=1000.0, handled=90, failed=10, busy_s=5.0))
    assert (figures.done, figures.error_rate, figures.response_ms, figures.span_s) == (100, 10.0, 50.0, 30.0)


def test_old_failures_leave_the_window() -> None:
    roster = Roster(window_s=60)
    look(roster, 10_000, up("a", handled=1000))
    rates = [
        look(roster, 10_000 + 10 * n, up("a", handled=1000 + 10 * n, failed=100))[0][0].error_rate for n in range(1, 13)
    ]
    assert rates[0] is not None
    assert rates[0] > 90
    assert rates[-1] == 0.0


def test_the_response_time_is_the_time_spent_divided_by_the_messages_of_the_window() -> None:
    roster = Roster()
    look(roster, 10_000, up("a", handled=1000, busy_s=900.0))
    (figures,), *_ = look(roster, 10_005, up("a", handled=1010, failed=10, busy_s=910.0))
    assert figures.response_ms == 500.0  # 10 s over 20 messages, whatever the 900 s before were spent on


def test_a_new_incarnation_counts_from_nothing() -> None:
    roster = Roster()
    look(roster, 10_000, up("a", handled=500, failed=10, mailbox=3))
    node = up("a", epoch=2, started_at=10_004.0, handled=3, failed=1, mailbox=9)
    roster.begin()
    figures, step = roster.observe(node, 10_005)
    assert (figures.done, figures.error_rate, figures.queue_growth) == (4, 25.0, 9)
    assert step == Step(3, 1, 0.0, 0)


@pytest.mark.parametrize(
    ("counts", "failures"),
    [
        ([(0, 0), (10, 0)], 0),
        ([(0, 7), (10, 7)], 0),  # what was before the first look is not known to be recent
        ([(0, 0), (10, 2), (20, 3)], 3),
        ([(0, 0), (10, 2), (400, 3)], 1),
        ([(0, 5), (10, 1)], 1),  # a rebuilt supervisor counts from 0 again
        ([(500, 0), (510, 2), (100, 2)], 0),  # a clock that was set back
    ],
)
def test_restarts_count_as_failures_within_their_window(counts: list[tuple[float, int]], failures: int) -> None:
    roster = Roster(failure_window_s=300)
    for now, restarts in counts:
        (figures,), *_ = look(roster, now, up("a", restarts=restarts))
    assert figures.failures == failures


def test_a_step_is_what_was_done_since_the_last_look() -> None:
    roster = Roster()
    look(roster, 10_000, up("a", handled=10, failed=3, busy_s=7.0, restarts=1))
    roster.begin()
    assert roster.observe(up("a", handled=14, failed=5, busy_s=7.5, restarts=2), 10_005)[1] == Step(4, 2, 0.5, 1)
    roster.begin()
    assert roster.observe(up("a", handled=14, failed=5, busy_s=7.5, restarts=2), 10_010)[1] == Step()


def test_an_agent_is_not_called_stuck_at_first_sight() -> None:
    (figures,), *_ = look(Roster(), 10_000, up("a", mailbox=5))
    assert figures.progressed is True


def test_an_agent_whose_failures_lie_behind_it_can_still_be_stuck() -> None:
    roster = Roster()
    look(roster, 10_000, up("a", handled=5, failed=3, mailbox=2))
    (figures,), *_ = look(roster, 10_005, up("a", handled=5, failed=3, mailbox=2))
    assert figures.progressed is False


def test_the_growth_of_a_mailbox_is_that_of_the_window() -> None:
    roster = Roster(window_s=60)
    growth = [look(roster, 10_000 + 10 * n, up("a", mailbox=10 * n))[0][0].queue_growth for n in range(20)]
    assert growth[:4] == [0, 10, 20, 30]
    assert max(growth) <= 60
    assert growth[-1] >= 30


@pytest.mark.parametrize(
    ("size", "mailbox", "fill"), [(1000, 800, 80.0), (10, 10, 100.0), (100_000, 1000, 1.0), (0, 5, None)]
)
def test_the_fill_of_a_mailbox_is_a_share_of_its_own_size(size: int, mailbox: int, fill: float | None) -> None:
    (figures,), *_ = look(Roster(), 0, up("a", mailbox=mailbox, mailbox_size=size))
    assert figures.mailbox_fill == fill


@pytest.mark.parametrize(
    ("nodes", "state"),
    [
        ([up("a")], "alive"),
        ([down("a", status="starting")], "starting"),
        ([down("a", status="starting"), down("a", status="starting")], "down"),
        ([down("a", status="starting"), up("a"), down("a", status="starting")], "starting"),
        ([down("a", status="running")], "late"),
        ([up("a"), down("a", status="running")], "late"),
        ([down("a", status="running"), up("a"), down("a", status="running")], "late"),
        ([down("a", status="running"), down("a", status="running")], "silent"),
        ([down("a", "OSError: x", status="backoff")], "down"),
        ([down("a", "crashed", status="removed")], "down"),
        ([down("a", "killed: its process died", status="stopped")], "down"),
        ([down("a", "normal", status="removed")], "ended"),
        ([down("a", "shutdown", status="stopped")], "ended"),
        ([down("a", "normal", status="backoff")], "down"),
    ],
)
def test_what_an_agent_without_figures_is_depends_on_what_its_supervisor_says(
    nodes: list[TreeNode], state: str
) -> None:
    roster = Roster()
    for number, node in enumerate(nodes):
        (figures,), *_ = look(roster, 5.0 * number, node)
    assert figures.state == state


@pytest.mark.parametrize(
    ("before", "after", "progressed"),
    [
        ({"mailbox": 0}, {"mailbox": 5}, True),
        ({"mailbox": 5}, {"mailbox": 5}, False),
        ({"mailbox": 5}, {"mailbox": 5, "handled": 1}, True),
        ({"mailbox": 5}, {"mailbox": 5, "failed": 1}, True),
        ({"mailbox": 5}, {"mailbox": 0}, True),
        ({"mailbox": 5}, {"mailbox": 5, "paused": "by hand"}, True),
    ],
)
def test_an_agent_gets_on_if_it_does_something_or_has_nothing_to_do(
    before: dict[str, Any], after: dict[str, Any], progressed: object
) -> None:
    roster = Roster()
    look(roster, 10_000, up("a", **before))
    (figures,), *_ = look(roster, 10_005, up("a", **after))
    assert figures.progressed is progressed


def test_a_clock_that_is_set_back_begins_a_new_window() -> None:
    roster = Roster(window_s=60)
    look(roster, 10_000, up("a", failed=0, handled=100))
    look(roster, 5_000, up("a", failed=50, handled=100))
    (figures,), *_ = look(roster, 5_040, up("a", failed=50, handled=200))
    assert figures.error_rate == 0.0
