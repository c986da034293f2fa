"""The index of a coordinator's runs: its limit, its bounded history, and the figures over all."""

from __future__ import annotations

from typing import Any

import pytest

from dspex_agents import SpecError
from dspex_agents.teamwork.member_pool import MemberFigures
from dspex_agents.teamwork.run_index import RunEntry, RunIndex
from dspex_agents.teamwork.run_messages import RunLimitError, RunStatus, UnknownRunError
from dspex_agents.teamwork.runs import RunsSettings


def entry(run_id: str) -> RunEntry:
    return RunEntry(run_id, f"coord:{run_id}", 10.0, awaited=True)


def status(run_id: str, **fields: Any) -> RunStatus:
    return RunStatus(**{"run_id": run_id, "status": "completed", "agent": "x", "started_at": 10.0, **fields})


def test_the_limit_counts_runs_under_way_and_no_others() -> None:
    index = RunIndex(most=2, history=5)
    for run_id in "ab":
        index.check_room(run_id)
        index.add(entry(run_id))
    with pytest.raises(RunLimitError, match="Run 'c' was not begun: 2 runs are under way, the most that there may be"):
        index.check_room("c")
    index.end(status("a"))
    index.check_room("c")


def test_only_the_last_runs_are_remembered_the_oldest_first() -> None:
    index = RunIndex(most=9, history=2)
    for run_id in "abca":
        index.add(entry(run_id))
        index.end(status(run_id))
    assert list(index.ended) == ["c", "a"]


def test_a_run_that_is_not_under_way_is_named_with_those_that_are_and_how_it_ended() -> None:
    index = RunIndex(most=9, history=9)
    index.add(entry("a"))
    index.end(status("b", status="failed"))
    assert index.entry("a").agent == "coord:a"
    with pytest.raises(UnknownRunError, match=r"No run 'x' is under way here\. Under way: a\.$"):
        index.entry("x")
    with pytest.raises(UnknownRunError, match=r"Under way: a\. It has ended: failed"):
        index.entry("b")


def test_the_figures_are_sums_over_ended_runs_runs_under_way_and_single_tasks() -> None:
    def of(units: int, failures: int = 0, **fields: Any) -> MemberFigures:
        return MemberFigures(
            **{"in_flight": 1, "load": 0.5, "units": units, "failures": failures, "state": "closed", **fields}
        )

    index = RunIndex(most=9, history=1)
    for run_id, end, seconds in (("a", "completed", 4.0), ("b", "failed", 2.0), ("c", "cancelled", 0.0)):
        index.add(entry(run_id))
        index.end(status(run_id, status=end, ended_at=10.0 + seconds, members={"w1": of(10, 1), "gone": of(5)}))
    index.add(entry("d"))
    running = [status("d", status="running", members={"w1": of(3, load=0.9, state="open")})]
    metrics = index.metrics(7, {"w1": of(7), "w2": of(0)}, running)
    assert (metrics.total, metrics.active, metrics.successful, metrics.failed, metrics.cancelled) == (4, 1, 1, 1, 1)
    assert (metrics.mean_duration_s, metrics.units, metrics.tasks) == (2.0, 48, 7)
    assert metrics.members == {"w1": of(40, 3, in_flight=2, load=0.9, state="open"), "w2": of(0)}


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("most", 0, "runs.most must be at least 1, got 0"),
        ("history", 0, "runs.history must be at least 1"),
        ("timeout_s", float("inf"), "runs.timeout_s must be a number of seconds above 0, got inf"),
        ("check_s", -1.0, "runs.check_s must be a number of seconds above 0, got -1.0"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(field: str, value: Any, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        RunsSettings(**{field: value})
