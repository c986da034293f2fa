"""The performance of agents as a table, and the sensor that publishes it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from runtime_contract import echo, spec_of
from sample_trees import down, tree, up

from dspex_agents.agent import TreeNode
from dspex_agents.clock import ManualClock
from dspex_agents.database import Database
from dspex_agents.errors import AgentFailedError, SpecError
from dspex_agents.ids import CountingIds
from dspex_agents.monitoring.agent_performance import (
    AgentPerformance,
    PerformanceLimits,
    PerformanceWatch,
    system_recommendations,
)
from dspex_agents.monitoring.roster import Roster
from dspex_agents.runtime.local_runtime import start_local_system
from dspex_agents.sensors.agent_performance_sensor import AgentPerformanceSensor
from dspex_agents.sensors.sensor import PollNow
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_bus import SignalBusAgent
from dspex_agents.signals.signal_messages import Replay
from dspex_agents.supervision.child_spec import ChildSpec
from dspex_agents.testing import LoneHost

GIB = 1024**3


def judged(looks: list[TreeNode], every_s: float = 60.0, **limits: Any) -> AgentPerformance:
    """Return the judgement of the last of some looks at one agent."""
    roster, watch = Roster(window_s=every_s), PerformanceWatch(PerformanceLimits(**limits))
    found = None
    for number, node in enumerate(looks):
        roster.begin()
        figures, _ = roster.observe(node, 10_000.0 + every_s * number)
        found = watch.observe(figures)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("before", "after", "issues", "level"),
    [
        ({}, {}, [], "optimal"),
        ({}, {"handled": 100, "busy_s": 100.0}, [], "optimal"),
        ({}, {"handled": 100, "busy_s": 300.0}, [], "normal"),  # more than half of what is allowed
        ({}, {"handled": 100, "busy_s": 500.0}, [], "normal"),
        ({}, {"handled": 100, "busy_s": 501.0}, ["response_ms"], "degraded"),
        ({}, {"handled": 95, "failed": 5}, [], "normal"),
        ({}, {"handled": 94, "failed": 6}, ["error_rate"], "degraded"),
        ({}, {"failed": 1}, [], "normal"),  # one failure of one is no rate
        ({}, {"handled": 10, "mailbox": 50}, [], "optimal"),
        ({}, {"handled": 10, "mailbox": 51}, [], "normal"),
        ({}, {"handled": 10, "mailbox": 100}, [], "normal"),
        ({}, {"handled": 10, "mailbox": 101}, ["mailbox"], "degraded"),
        ({}, {"handled": 9, "mailbox": 1}, ["throughput"], "degraded"),
        ({}, {"handled": 9, "mailbox": 0}, [], "optimal"),
        ({}, {"memory": GIB}, [], "optimal"),
        ({}, {"memory": 2 * GIB}, [], "normal"),
        ({}, {"memory": 2 * GIB + 1}, ["process_memory"], "degraded"),
        (
            {},
            {"handled": 4, "failed": 36, "mailbox": 500, "busy_s": 900.0},
            ["response_ms", "error_rate", "mailbox"],
            "critical",
        ),
    ],
)
def test_each_figure_beyond_its_limit_is_an_issue_and_three_are_critical(
    before: dict[str, Any], after: dict[str, Any], issues: list[str], level: str
) -> None:
    found = judged([up("a", **before), up("a", **after)])
    assert ([issue.kind for issue in found.issues], found.level) == (issues, level)


@pytest.mark.parametrize("node", [down("a", "OSError: x"), down("a", status="running")])
def test_an_agent_that_is_not_there_is_critical(node: TreeNode) -> None:
    found = judged([up("a"), node, node])
    assert ([issue.kind for issue in found.issues], found.level) == (["down"], "critical")


@pytest.mark.parametrize(
    "node", [down("a", "normal", status="removed"), down("a", status="starting"), down("a", status="running")]
)
def test_an_agent_that_ended_in_good_order_or_is_starting_or_late_is_not_judged(node: TreeNode) -> None:
    roster, watch = Roster(), PerformanceWatch()
    roster.begin()
    assert watch.observe(roster.observe(node, 0)[0]) is None


def test_an_agent_that_does_not_get_on_with_what_waits_is_not_responsive() -> None:
    good, stuck = up("a", handled=5), up("a", handled=5, mailbox=3)
    looks = [good] * 10 + [stuck] * 3
    found = judged(looks, throughput=0.001)
    assert found.responsiveness == pytest.approx(11 / 13)  # at the first of the three it had just been given work
    assert [issue.kind for issue in found.issues] == ["throughput", "responsiveness"]
    found = judged([stuck] * 4, throughput=0.001)
    assert [issue.kind for issue in found.issues] == ["throughput"]  # a few looks say nothing


def test_limits_may_be_met() -> None:
    found = judged([up("a", mailbox=3)] * 5, throughput=0.001, responsiveness=0.2, window=5)
    assert (found.responsiveness, [issue.kind for issue in found.issues]) == (0.2, ["throughput"])
    assert PerformanceLimits(responsiveness=1).responsiveness == 1


def test_responsiveness_is_that_of_the_last_looks() -> None:
    stuck = [up("a", mailbox=3)] * 20
    working = [up("a", handled=100 * n) for n in range(1, 21)]
    assert judged(stuck + working).responsiveness == 1.0
    assert judged(stuck + working[:10]).responsiveness == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("mean_ms", "way"),
    [
        ([100.0] * 10, "steady"),
        ([100.0] * 5 + [119.0] * 5, "steady"),  # 20 % is allowed
        ([100.0] * 5 + [130.0] * 5, "rising"),
        ([100.0] * 5 + [70.0] * 5, "falling"),
        ([1000.0] * 30 + [100.0] * 20, "steady"),  # what is older than the window is forgotten
    ],
)
def test_the_trend_of_the_response_time_compares_halves_of_the_window(mean_ms: list[float], way: str) -> None:
    busy_s, looks = 0.0, [up("a")]
    for number, mean in enumerate(mean_ms, 1):
        busy_s += 100 * mean / 1000
        looks.append(up("a", handled=100 * number, busy_s=busy_s))
    found = judged(looks)
    assert found.trend == way
    assert found.level == ("normal" if way == "rising" else "optimal")


def test_an_agent_that_left_is_forgotten() -> None:
    roster, watch = Roster(), PerformanceWatch()
    roster.begin()
    watch.observe(roster.observe(up("a"), 0)[0])
    watch.forget(["a", "never-seen"])
    assert watch._past == {}


def test_there_is_one_recommendation_for_each_kind_of_issue_with_the_worst_case() -> None:
    found = [judged([up(f"a{n}"), up(f"a{n}", mailbox=200 + n, handled=100 - n)], throughput=99.5) for n in range(3)]
    queue, pace = system_recommendations(found)
    assert queue == "202 messages wait at agent a2 (and 2 more). Add agents of its kind or slow its callers down."
    assert pace.startswith("Agent a2 finishes 98.0 messages a minute while more wait (and 1 more). Look at")


def test_issues_name_their_figures_in_units_that_people_read() -> None:
    found = judged([up("a", mailbox=3, memory=3 * GIB)] * 10)
    assert [issue.text for issue in found.issues] == [
        "agent a finishes 0.0 messages a minute while more wait",
        "the process of agent a holds 3072 MiB",
        "agent a was responsive at 10 % of the looks",
    ]


class Stage:
    """A sensor alone, with the signals it published."""

    def __init__(self, *nodes: TreeNode) -> None:
        self.clock, self.nodes = ManualClock(1000.0), list(nodes)
        self.signals: list[Signal] = []
        self.sensor = AgentPerformanceSensor("bus", ids=CountingIds())
        self.sensor.context = LoneHost(self.clock, ask=self._ask, tree=self._tree).context("performance")

    def poll(self) -> list[Signal]:
        """Poll once, a minute on, and return what was published."""
        self.clock.advance(60)
        self.signals.clear()
        asyncio.run(self.sensor.on_message(PollNow()))
        return list(self.signals)

    async def _tree(self) -> TreeNode:
        return tree(*self.nodes)

    async def _ask(self, to: str, body: Any, **options: Any) -> None:
        self.signals.append(body.signal)


def test_the_sensor_publishes_one_signal_for_each_level_worst_first() -> None:
    stage = Stage(up("a"), up("b"), up("c", mailbox=500, handled=100, started_at=1000.0), down("d", "OSError: x"))
    signals = stage.poll()
    assert [signal.type.rpartition(".")[2] for signal in signals] == ["critical", "degraded", "optimal"]
    critical, degraded, optimal = (signal.data for signal in signals)
    assert (critical["count"], degraded["count"], optimal["count"], optimal["of"]) == (1, 1, 2, 4)
    assert [agent["agent"] for agent in optimal["agents"]] == ["a", "b"]
    (worst,) = degraded["agents"]
    assert (worst["issues"], worst["suggestions"]) == (
        ["500 messages wait at agent c"],
        ["Add agents of its kind or slow its callers down."],
    )
    assert critical["recommendations"] == [
        "Agent d is backoff. Look at its last reason and its log.",
        "500 messages wait at agent c. Add agents of its kind or slow its callers down.",
    ]
    assert stage.sensor.details()["levels"] == {"optimal": 2, "degraded": 1, "critical": 1}


def test_the_sensor_lists_at_most_a_hundred_agents_of_a_level_those_in_most_trouble_first() -> None:
    slow = up("slow", mailbox=500, handled=100, failed=100, started_at=1000.0)
    stage = Stage(*(up(f"a{n}", mailbox=500, handled=100, started_at=1000.0) for n in range(300)), slow)
    (signal,) = stage.poll()
    assert (signal.data["count"], len(signal.data["agents"])) == (301, 100)
    assert signal.data["agents"][0]["agent"] == "slow"


def test_rates_are_those_since_the_poll_before() -> None:
    stage = Stage(up("a", handled=1000, busy_s=9000.0))
    stage.poll()
    stage.nodes = [up("a", handled=1100, busy_s=9010.0)]
    (signal,) = stage.poll()
    (agent,) = signal.data["agents"]
    assert (agent["response_ms"], agent["throughput"]) == (100.0, 100.0)
    stage.nodes = [up("a", handled=1100, busy_s=9010.0)]
    (signal,) = stage.poll()
    assert signal.data["agents"][0]["throughput"] == 0.0


def test_a_bad_interval_of_the_sensor_is_named() -> None:
    with pytest.raises(SpecError, match="AgentPerformanceSensor: interval_s must be a number of seconds above 0"):
        AgentPerformanceSensor("bus", interval_s=-1)


def test_the_sensor_of_a_real_system_sees_which_agents_fail(tmp_path: Path) -> None:
    bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs={"database": Database(str(tmp_path / "signals.db"))})
    sensor = ChildSpec(id="performance", start=AgentPerformanceSensor, kwargs={"bus": "bus"})
    with start_local_system(spec_of(bus, echo("good"), echo("bad"), sensor)) as system:
        for _ in range(20):
            assert system.ask("good", 1) == 1
            with pytest.raises(AgentFailedError):
                system.ask("bad", "boom")
        assert system.ask("performance", PollNow()) == 2
        (entry,) = system.ask("bus", Replay("agent.performance.degraded")).signals
        assert [agent["agent"] for agent in entry.signal.data["agents"]] == ["bad"]
        assert entry.signal.data["recommendations"] == [
            "Agent bad fails 100.0 % of its messages. Look at its errors by type."
        ]
