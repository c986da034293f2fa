"""Vital signs as a table, and the sensor that publishes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runtime_contract import echo, spec_of
from sample_trees import WELL, FixedProbe, down, tree, up

from dspex_agents.agent import TreeNode
from dspex_agents.clock import ManualClock
from dspex_agents.database import Database
from dspex_agents.errors import SpecError
from dspex_agents.ids import CountingIds
from dspex_agents.monitoring.vital_signs import VitalLimits, VitalWatch, vital_score, vital_status
from dspex_agents.runtime.local_runtime import start_local_system
from dspex_agents.sensors.sensor import PollDue, PollNow
from dspex_agents.sensors.system_health_sensor import SystemHealthSensor
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_bus import SignalBusAgent
from dspex_agents.signals.signal_messages import Replay
from dspex_agents.supervision.child_spec import ChildSpec
from dspex_agents.testing import LoneHost


@pytest.mark.parametrize(
    ("violations", "anomalies", "cpu", "memory", "score"),
    [
        (0, 0, None, None, 100.0),
        (0, 0, 70.0, 70.0, 100.0),
        (0, 0, 79.0, 10.0, 97.0),
        (1, 0, 100.0, 10.0, 75.0),
        (0, 1, 10.0, 10.0, 90.0),
        (2, 1, 100.0, 100.0, 40.0),
        (4, 2, 100.0, 100.0, 0.0),
    ],
)
def test_the_score_is_100_less_what_is_beyond_and_unusual_and_used(
    violations: int, anomalies: int, cpu: float | None, memory: float | None, score: float
) -> None:
    assert vital_score(violations, anomalies, cpu, memory) == score


@pytest.mark.parametrize(
    ("score", "violations", "unusual", "status"),
    [
        (100.0, 0, 0, "ok"),
        (90.0, 0, 0, "ok"),
        (90.0, 0, 1, "warning"),  # something is unusual
        (89.9, 0, 0, "warning"),
        (85.0, 1, 0, "warning"),
        (70.0, 1, 0, "warning"),
        (70.0, 2, 0, "critical"),
        (69.9, 1, 0, "critical"),
        (50.0, 2, 2, "critical"),
        (49.9, 0, 0, "emergency"),
        (49.9, 1, 1, "emergency"),
    ],
)
def test_a_score_and_what_it_comes_from_have_one_word(score: float, violations: int, unusual: int, status: str) -> None:
    assert vital_status(score, violations, unusual) == status


def test_each_figure_beyond_its_limit_is_a_violation() -> None:
    watch = VitalWatch(VitalLimits(agents=5, mailbox=10))
    signs = watch.observe(replace(WELL, cpu_usage=80.0, memory_usage=85.0), 5, 10, 0.0)
    assert signs.violations == {}
    signs = watch.observe(replace(WELL, cpu_usage=80.1, memory_usage=85.1), 6, 11, 30.0)
    assert list(signs.violations) == ["cpu_usage", "memory_usage", "agents", "mailbox"]
    assert signs.violations["mailbox"] == (11.0, 10.0)
    assert signs.status == "emergency"


def test_a_jump_of_memory_is_unusual_once_ten_looks_show_what_is_usual() -> None:
    watch = VitalWatch()
    for n in range(10):
        assert watch.observe(replace(WELL, memory_usage=40.0 + n % 2), 3, 0, 30.0 * n).status == "ok"
    signs = watch.observe(replace(WELL, memory_usage=60.0), 3, 0, 300.0)
    assert [anomaly.figure for anomaly in signs.anomalies] == ["memory_usage"]
    assert (signs.status, signs.score) == ("warning", 90.0)
    unread = replace(WELL, memory_usage=90.0, problems=("load: OSError: gone",))
    limits = VitalLimits(memory_usage=99.0)
    watch = VitalWatch(limits)
    for n in range(10):
        watch.observe(replace(WELL, memory_usage=40.0 + n % 2), 3, 0, 30.0 * n)
    assert watch.observe(unread, 3, 0, 300.0).status == "warning"


def test_the_trend_is_that_of_five_looks() -> None:
    watch = VitalWatch()
    for n, usage in enumerate([90.0, 90.0, 20.0, 20.0, 25.0, 30.0, 30.0]):
        signs = watch.observe(replace(WELL, memory_usage=usage), 3, 0, 30.0 * n)
    assert signs.trends == {"cpu_usage": "steady", "memory_usage": "rising", "agents": "steady", "mailbox": "steady"}


class Stage:
    """A sensor alone, with the signals it published."""

    def __init__(self, *nodes: TreeNode) -> None:
        self.clock, self.probe, self.nodes = ManualClock(1000.0), FixedProbe(), list(nodes)
        self.signals: list[Signal] = []
        self.sensor = SystemHealthSensor("bus", probe=self.probe, ids=CountingIds())
        self.sensor.context = LoneHost(self.clock, ask=self._ask, tree=self._tree).context("vitals")

    def poll(self) -> list[str]:
        """Poll once and return the types published."""
        before = len(self.signals)
        asyncio.run(self.sensor.on_message(PollNow()))
        return [signal.type for signal in self.signals[before:]]

    async def _tree(self) -> TreeNode:
        return tree(*self.nodes)

    async def _ask(self, to: str, body: Any, **options: Any) -> None:
        self.signals.append(body.signal)


def test_the_sensor_tells_a_change_at_once_and_the_same_again_only_after_the_cooldown() -> None:
    stage = Stage(up("a"), up("b", mailbox=7), down("c"))
    assert stage.poll() == ["system.health.ok"]
    stage.clock.advance(299)
    assert stage.poll() == []
    stage.probe.figures = replace(WELL, cpu_usage=90.0)
    assert stage.poll() == ["system.health.warning"]
    assert stage.poll() == []
    stage.clock.advance(300)
    assert stage.poll() == ["system.health.warning"]
    stage.probe.figures = replace(WELL, cpu_usage=100.0, memory_usage=100.0)
    assert stage.poll() == ["system.health.critical"]
    stage.nodes[1] = up("b", mailbox=1001)
    assert stage.poll() == ["system.health.emergency"]
    assert stage.signals[0].data["figures"] == {
        "cpu_usage": 10.0,
        "memory_usage": 20.0,
        "agents": 2.0,
        "mailbox": 7.0,
    }
    assert stage.signals[-1].data["violations"][-1] == {"figure": "mailbox", "current": 1001.0, "limit": 1000.0}
    assert (stage.sensor.details()["status"], stage.sensor.details()["score"]) == ("emergency", 35.0)


def test_a_probe_that_fails_is_a_failed_poll_of_the_sensor() -> None:
    stage = Stage(up("a"))

    def broken(now: float) -> None:
        raise OSError("no /proc here")

    stage.probe.read = broken
    assert stage.poll() == []
    assert stage.sensor.details()["last_error"] == "OSError: no /proc here"


def test_the_sensor_polls_by_its_interval() -> None:
    stage = Stage(up("a"))

    async def life() -> list[int | None]:
        await stage.sensor.on_start()
        stage.clock.advance(29)
        early = await stage.sensor.on_message(PollDue())
        stage.clock.advance(1)
        due = await stage.sensor.on_message(PollDue())
        await stage.sensor.on_stop("shutdown")
        return [early, due]

    assert asyncio.run(life()) == [None, 1]


@pytest.mark.parametrize("option", ["interval_s", "cooldown_s"])
def test_a_bad_option_of_the_sensor_is_named(option: str) -> None:
    with pytest.raises(SpecError, match=f"SystemHealthSensor: {option} must be a number of seconds above 0"):
        SystemHealthSensor("bus", **{option: 0})


def test_the_sensor_of_a_real_system_publishes_to_its_bus(tmp_path: Path) -> None:
    bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs={"database": Database(str(tmp_path / "signals.db"))})
    sensor = ChildSpec(id="vitals", start=SystemHealthSensor, kwargs={"bus": "bus", "probe": FixedProbe()})
    with start_local_system(spec_of(bus, echo(), sensor)) as system:
        assert system.ask("vitals", PollNow()) == 1
        (entry,) = system.ask("bus", Replay("system.health.*")).signals
        assert (entry.signal.type, entry.signal.data["figures"]["agents"]) == ("system.health.ok", 3.0)
