"""Health as a table: from a tree to a score, a band and alerts; and how alerts live on from sample to sample."""

from __future__ import annotations

import pytest

from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.roles.health import Alert, Thresholds, assess
from dspex_agents.roles.monitor_agent import OpenAlert, update_alerts


def up(id_: str, *, handled: int = 0, failed: int = 0, mailbox: int = 0, memory: int = 0) -> TreeNode:
    status = AgentStatus(id_, 1, "idle", mailbox, 0, handled, failed, 0.0, 0.0)
    return TreeNode(id_, "agent", "running", memory_bytes=memory, agent=status)


def down(id_: str, reason: str = "") -> TreeNode:
    return TreeNode(id_, "agent", "backing_off", last_reason=reason)


def tree(*agents: TreeNode) -> TreeNode:
    return TreeNode("top", "supervisor", "running", children=agents)


@pytest.mark.parametrize(
    ("agents", "score", "band", "alerts"),
    [
        ([], 100.0, "excellent", []),
        ([up("a"), up("b")], 100.0, "excellent", []),
        ([up("a", handled=95, failed=5)], 100.0, "excellent", []),
        ([up("a", handled=94, failed=6)], 95.0, "excellent", ["errors:a"]),
        ([up("a", handled=0, failed=19)], 100.0, "excellent", []),
        ([up("a", handled=0, failed=20)], 95.0, "excellent", ["errors:a"]),
        ([up("a", mailbox=800)], 100.0, "excellent", []),
        ([up("a", mailbox=801)], 95.0, "excellent", ["mailbox:a"]),
        ([up("a", memory=2 * 1024**3)], 100.0, "excellent", []),
        ([up("a", memory=2 * 1024**3 + 1)], 95.0, "excellent", ["memory:a"]),
        (
            [up("a", handled=1, failed=99, mailbox=999, memory=3 * 1024**3)],
            85.0,
            "good",
            ["errors:a", "mailbox:a", "memory:a"],
        ),
        ([down("a"), *map(up, "bcdefghij")], 75.0, "good", ["down:a"]),
        ([down("a"), *map(up, "bcde")], 65.0, "fair", ["down:a"]),
        ([down("a"), up("b")], 35.0, "poor", ["down:a"]),
        ([down("a"), down("b"), up("c")], 3.3, "critical", ["down:a", "down:b"]),
        ([down("a"), down("b")], 0.0, "critical", ["down:a", "down:b"]),
    ],
)
def test_the_score_is_the_share_of_agents_up_less_what_is_wrong(
    agents: list[TreeNode], score: float, band: str, alerts: list[str]
) -> None:
    health = assess(tree(*agents), Thresholds())
    assert (health.score, health.band, [alert.id for alert in health.alerts]) == (score, band, alerts)
    assert (health.agents, health.alive) == (len(agents), sum(node.agent is not None for node in agents))


def test_an_alert_says_what_where_how_much_and_what_to_do() -> None:
    (alert,) = assess(tree(up("a", handled=50, failed=50)), Thresholds(error_rate=20)).alerts
    assert (alert.severity, alert.agent, alert.current, alert.threshold) == ("warning", "a", 50.0, 20)
    assert alert.message == "agent a fails 50.0 % of its messages"
    assert alert.recommendation
    (alert,) = assess(tree(down("b", "out of memory")), Thresholds()).alerts
    assert (alert.severity, alert.message) == ("critical", "agent b is backing_off: out of memory")


def test_agents_deep_in_the_tree_count_too() -> None:
    nested = TreeNode("inner", "supervisor", "running", children=(up("a"), down("b")))
    assert assess(tree(nested, up("c")), Thresholds()).alive == 2


def alert(id_: str, current: float = 1.0) -> Alert:
    return Alert(id_, "warning", id_, "", current, 0, "")


def test_an_alert_opens_once_is_seen_again_and_resolves_by_itself() -> None:
    first = update_alerts({}, (alert("x"), alert("y")), 10.0)
    assert first == {"x": OpenAlert(alert("x"), 10.0), "y": OpenAlert(alert("y"), 10.0)}
    second = update_alerts(first, (alert("x", 2.0),), 20.0)
    assert second == {"x": OpenAlert(alert("x", 2.0), 10.0, 2)}
    assert update_alerts(second, (), 30.0) == {}


def test_an_acknowledged_alert_stays_acknowledged_until_it_resolves() -> None:
    acknowledged = {"x": OpenAlert(alert("x"), 10.0, 3, acknowledged=True)}
    after = update_alerts(acknowledged, (alert("x"),), 20.0)
    assert after["x"] == OpenAlert(alert("x"), 10.0, 4, acknowledged=True)
    again = update_alerts(update_alerts(after, (), 30.0), (alert("x"),), 40.0)
    assert again["x"] == OpenAlert(alert("x"), 40.0)
