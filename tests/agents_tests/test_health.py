"""Health as a table: from a tree and a node's figures to alerts, parts, a score, a band and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sample_trees import WELL, down, tree, up

from dspex_agents.agent import TreeNode
from dspex_agents.monitoring.alert import Alert
from dspex_agents.monitoring.alert_book import AlertRules
from dspex_agents.monitoring.health import Health, band_of, parts_of, score_of
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.monitoring.system_probe import SystemFigures
from dspex_agents.monitoring.system_watch import Notice, SystemWatch
from dspex_agents.monitoring.thresholds import Thresholds

GIB = 1024**3
YOUNG = {"started_at": 990.0}


def look(watch: SystemWatch, now: float, *nodes: TreeNode, system: SystemFigures = WELL) -> list[Notice]:
    survey = watch.survey(now)
    for node in tree(*nodes).agents():
        survey.add(node)
    return watch.conclude(survey, system, now, 0.01)


def watching(**thresholds: Any) -> SystemWatch:
    return SystemWatch(Sampling(), Thresholds(**thresholds))


def health_of(*nodes: TreeNode, system: SystemFigures = WELL, **thresholds: Any) -> Health:
    watch = watching(**thresholds)
    look(watch, 1000.0, *nodes, system=system)
    assert watch.health is not None
    return watch.health


@pytest.mark.parametrize(
    ("nodes", "ids"),
    [
        ([], []),
        ([up("a"), up("b")], []),
        ([up("a", handled=95, failed=5, **YOUNG)], []),
        ([up("a", handled=94, failed=6, **YOUNG)], ["error_rate:a"]),
        ([up("a", failed=19, **YOUNG)], []),
        ([up("a", failed=20, **YOUNG)], ["error_rate:a"]),
        ([up("a", handled=20, busy_s=20.0, **YOUNG)], []),
        ([up("a", handled=20, busy_s=20.1, **YOUNG)], ["response_time:a"]),
        ([up("a", handled=19, busy_s=900.0, **YOUNG)], []),
        ([up("a", mailbox=800)], []),
        ([up("a", mailbox=801)], ["mailbox_fill:a"]),
        ([up("a", mailbox=801, mailbox_size=10_000)], []),
        ([up("a", mailbox=500, **YOUNG)], []),
        ([up("a", mailbox=501, mailbox_size=10_000, **YOUNG)], ["queue_growth:a"]),
        ([up("a", memory=2 * GIB)], []),
        ([up("a", memory=2 * GIB + 1)], ["process_memory:n1:7"]),
        ([down("a", status="starting")], []),
        ([down("a")], ["down:a"]),
        ([down("a", status="running")], []),
        ([down("a", "normal", status="removed"), up("b")], []),
    ],
)
def test_a_figure_above_its_threshold_is_an_alert_and_one_at_it_is_none(nodes: list[TreeNode], ids: list[str]) -> None:
    assert [alert.id for alert in health_of(*nodes).alerts] == ids


def test_more_restarts_than_the_threshold_within_the_window_are_critical() -> None:
    watch = watching(agent_failures=3)
    look(watch, 0.0, up("a"))
    look(watch, 5.0, up("a", restarts=3))
    assert watch.book.open() == ()
    look(watch, 10.0, up("a", restarts=4, reason="OSError: disk"))
    (entry,) = watch.book.open()
    assert (entry.alert.id, entry.alert.severity, entry.alert.current) == ("agent_failures:a", "critical", 4)
    assert entry.alert.message == "agent a was restarted 4 times lately: OSError: disk"
    for n in range(3):
        look(watch, 400.0 + n, up("a", restarts=4))
    assert watch.book.open() == ()


@pytest.mark.parametrize("figure", ["cpu_usage", "memory_usage", "disk_usage"])
def test_the_node_has_thresholds_of_its_own_and_what_is_not_known_breaks_none(figure: str) -> None:
    limits = {figure: 70.0}
    assert health_of(up("a"), system=replace(WELL, **{figure: 70.0}), **limits).alerts == ()
    assert health_of(up("a"), system=replace(WELL, **{figure: None}), **limits).alerts == ()
    (alert,) = health_of(up("a"), system=replace(WELL, **{figure: 70.1}), **limits).alerts
    assert (alert.id, alert.current, alert.threshold) == (f"{figure}:n1", 70.1, 70.0)


def test_a_process_that_holds_much_is_one_alert_however_many_agents_live_in_it() -> None:
    agents = [up(f"a{n}", memory=3 * GIB, pid=1) for n in range(100)]
    health = health_of(*agents, up("b", memory=3 * GIB, pid=2))
    assert [alert.message for alert in health.alerts] == [
        "the process of agent a0 and 99 others holds 3072 MiB",
        "the process of agent b holds 3072 MiB",
    ]


def test_an_alert_says_what_where_how_much_and_what_to_do() -> None:
    (alert,) = health_of(up("a", handled=50, failed=50, **YOUNG), error_rate=20).alerts
    assert (alert.kind, alert.severity, alert.agent, alert.current, alert.threshold) == (
        "error_rate",
        "warning",
        "a",
        50.0,
        20,
    )
    assert alert.message == "agent a fails 50.0 % of its messages"
    assert alert.recommendation
    (alert,) = health_of(down("b", "out of memory")).alerts
    assert (alert.severity, alert.message) == ("critical", "agent b is backoff: out of memory")


@pytest.mark.parametrize(
    ("nodes", "score", "band"),
    [
        ([], 100.0, "excellent"),
        ([up("a"), up("b")], 100.0, "excellent"),
        ([up("a"), down("b", "normal", status="removed")], 100.0, "excellent"),
        ([up("a"), down("b", status="starting")], 50.0, "fair"),
        ([down("a"), *map(up, "bcdefghij")], 90.0, "good"),  # a critical alert is never excellent
        ([down("a"), up("b"), up("c")], 66.7, "fair"),
        ([down("a"), up("b")], 50.0, "fair"),
        ([down("a"), down("b"), up("c")], 33.3, "poor"),
        ([down("a"), down("b")], 0.0, "critical"),
        ([up("a", mailbox=900)], 50.0, "fair"),
        ([up("a", mailbox=900), *map(up, "bcdefghij")], 95.0, "excellent"),
    ],
)
def test_the_score_is_the_share_of_agents_up_and_of_those_that_work_well(
    nodes: list[TreeNode], score: float, band: str
) -> None:
    health = health_of(*nodes)
    assert (health.score, health.band) == (score, band)
    assert health.alive == sum(node.agent is not None for node in nodes)


@pytest.mark.parametrize(
    ("figure", "usage", "score"),
    [
        ("cpu_usage", None, 100.0),
        ("cpu_usage", 80.0, 100.0),
        ("cpu_usage", 90.0, 75.0),
        ("cpu_usage", 100.0, 50.0),
        ("memory_usage", 85.0, 100.0),
        ("memory_usage", 92.5, 50.0),
        ("memory_usage", 100.0, 0.0),
        ("disk_usage", 90.0, 100.0),
        ("disk_usage", 100.0, 0.0),
    ],
)
def test_a_node_scores_100_up_to_its_threshold_and_less_above_it(
    figure: str, usage: float | None, score: float
) -> None:
    assert health_of(up("a"), system=replace(WELL, **{figure: usage})).score == score


def test_a_threshold_at_full_use_takes_nothing_from_the_score() -> None:
    parts = parts_of(1, 1, 0, replace(WELL, memory_usage=100.0), Thresholds(memory_usage=100))
    assert parts["memory"] == 100.0


def test_nothing_that_is_well_hides_what_is_not() -> None:
    # the mean of four parts would call a system without a living agent "good": (0 + 100 + 100 + 100) / 4
    assert score_of({"agents": 0.0, "cpu": 100.0, "memory": 100.0, "disk": 100.0}) == 0.0


def test_a_worse_figure_never_gives_a_better_score() -> None:
    scores = [
        score_of(parts_of(20, alive, troubled, replace(WELL, memory_usage=usage), Thresholds()))
        for alive, troubled, usage in [(20, 0, 50.0), (20, 1, 50.0), (19, 1, 50.0), (19, 5, 90.0), (5, 5, 99.0)]
    ]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("score", "band"),
    [
        (100, "excellent"),
        (90, "excellent"),
        (89.9, "good"),
        (75, "good"),
        (74.9, "fair"),
        (50, "fair"),
        (49.9, "poor"),
        (25, "poor"),
        (24.9, "critical"),
        (0, "critical"),
    ],
)
def test_a_score_has_a_band(score: float, band: str) -> None:
    assert band_of(score, ()) == band


def test_agents_deep_in_the_tree_count_too() -> None:
    nested = TreeNode("inner", "supervisor", "running", children=(up("a"), down("b")))
    assert health_of(nested, up("c")).alive == 2


def test_the_sums_of_a_sample_are_those_of_its_agents() -> None:
    watch = watching()
    look(watch, 1000.0, up("a", handled=10, pid=1, memory=100), up("b", pid=1, memory=100), down("c"))
    nodes = (
        up("a", handled=30, failed=5, busy_s=5.0, mailbox=4, in_flight=1, pid=1, memory=100, status="processing"),
        up("b", handled=5, mailbox=6, pid=1, memory=100),
        up("c", pid=2, memory=50, restarts=2, epoch=3, started_at=1003.0),
        down("d", "normal", status="removed"),
        down("e", status="running"),
    )
    look(watch, 1005.0, *nodes)
    (sample,) = watch.samples(1, agents=True)
    totals = sample.agents
    assert (totals.total, totals.alive, totals.ended) == (4, 3, 1)
    assert totals.by_status == {"processing": 1, "idle": 2, "removed": 1, "running": 1}
    assert (totals.mailbox, totals.longest_mailbox, totals.in_flight) == (10, 6, 1)
    assert (totals.handled, totals.failed, totals.busy_s, totals.restarts) == (25, 5, 5.0, 2)
    assert (totals.error_rate, totals.response_ms) == (pytest.approx(100 / 6), pytest.approx(1000 / 6))
    assert (totals.processes, totals.memory_bytes) == (2, 150)
    assert [figures.name for figures in sample.per_agent] == ["a", "b", "c", "d", "e"]


def test_the_history_is_bounded_and_keeps_sums_not_trees() -> None:
    watch = SystemWatch(Sampling(retention=10), Thresholds())
    for n in range(25):
        look(watch, 5.0 * n, *map(up, "abc"))
    kept = watch.samples(1000, agents=True)
    assert [sample.at for sample in kept] == [5.0 * n for n in range(15, 25)]
    assert [len(sample.per_agent) for sample in kept] == [0] * 9 + [3]
    assert watch.samples(0, agents=True) == []


def test_a_look_tells_who_came_who_left_what_was_seen_and_what_is_wrong() -> None:
    watch = watching()
    notices = look(watch, 10.0, up("a"), down("b"))
    assert [notice.what for notice in notices] == [
        "agent_enrolled",
        "metrics_collected",
        "health_analyzed",
        "alert_triggered",
    ]
    assert notices[0].data == {"agents": ["a", "b"], "count": 2}
    assert notices[1].data["agents"]["alive"] == 1
    assert notices[2].data["band"] == "fair"
    assert (notices[3].subject, notices[3].data["severity"]) == ("down:b", "critical")
    assert look(watch, 15.0, up("a"))[0] == Notice("agent_left", {"agents": ["b"], "count": 1})
    resolved = look(watch, 20.0, up("a"))[-1]
    assert (resolved.what, resolved.data["resolved_at"], resolved.data["state"]) == ("alert_resolved", 20.0, "resolved")


def test_an_unusual_figure_is_an_alert_and_part_of_the_health() -> None:
    watch = watching()
    for n in range(10):
        look(watch, 5.0 * n, up("a"), system=replace(WELL, memory_usage=40.0 + n % 2))
    look(watch, 50.0, up("a"), system=replace(WELL, memory_usage=60.0))
    assert watch.health is not None
    (anomaly,) = watch.health.anomalies
    assert anomaly.figure == "memory_usage"
    assert [entry.alert.id for entry in watch.book.open()] == ["anomaly:memory_usage"]
    assert watch.health.score == 100.0  # unusual is not yet bad


def test_trends_are_those_of_the_last_five_samples() -> None:
    watch = watching()
    for n, usage in enumerate([90.0, 10.0, 20.0, 30.0, 40.0, 50.0]):
        look(watch, 5.0 * n, up("a", failed=0, handled=n), system=replace(WELL, memory_usage=usage, cpu_usage=50 - n))
    assert watch.health is not None
    assert watch.health.trends["memory_usage"] == "rising"
    assert watch.health.trends["cpu_usage"] == "steady"
    assert watch.health.trends["agents"] == "steady"


def test_what_could_not_be_read_and_alerts_without_room_are_problems_of_the_health() -> None:
    watch = SystemWatch(Sampling(), Thresholds(), AlertRules(max_open=2))
    look(watch, 0.0, *map(down, "abcde"), system=replace(WELL, problems=("disk: OSError: gone",)))
    assert watch.health is not None
    assert watch.health.problems == ("disk: OSError: gone", "3 more alerts found no room among the 2 open ones")


def test_there_is_one_recommendation_for_each_kind_with_the_worst_agent_and_its_figure() -> None:
    watch = watching()
    looks = [up(f"m{n}", mailbox=850 + n) for n in range(3)]
    look(watch, 1000.0, *looks, up("e", handled=50, failed=50, **YOUNG), down("d", "gone"))
    found = watch.recommendations()
    assert [(each.kind, each.severity, each.alerts) for each in found] == [
        ("down", "critical", 1),
        ("error_rate", "warning", 1),
        ("mailbox_fill", "warning", 3),
    ]
    assert found[2].text.startswith("The mailbox of agent m2 is 85 % full (and 2 more). ")
    assert found[0].text.startswith("Agent d is backoff: gone. ")


def test_ten_thousand_agents_in_trouble_are_bounded_alerts_and_one_recommendation() -> None:
    watch = watching()
    look(watch, 10.0, *(down(f"a{n}") for n in range(10_000)))
    assert len(watch.book) == 1000
    assert watch.book.refused == 9000
    assert len(watch.recommendations()) == 1


def test_a_message_of_every_kind_can_be_built_and_names_its_figure() -> None:
    kinds = {alert.kind for alert in _one_of_each()}
    assert kinds == {
        "down",
        "silent",
        "agent_failures",
        "error_rate",
        "response_time",
        "mailbox_fill",
        "queue_growth",
        "process_memory",
        "cpu_usage",
        "memory_usage",
        "disk_usage",
    }
    assert all("{" not in alert.message for alert in _one_of_each())


def _one_of_each() -> tuple[Alert, ...]:
    watch = watching(agent_failures=1)
    look(watch, 1000.0, up("f"), down("s", status="running"))
    bad = up("b", handled=50, failed=50, busy_s=900.0, mailbox=990, memory=3 * GIB, **YOUNG)
    full = replace(WELL, cpu_usage=99.0, memory_usage=99.0, disk_usage=99.0)
    look(watch, 1005.0, bad, down("d"), down("s", status="running"), up("f", restarts=2), system=full)
    return tuple(entry.alert for entry in watch.book.open())
