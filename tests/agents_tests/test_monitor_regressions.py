"""Each defect of the systems before this one, as a test that fails if it comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from monitor_scene import QUIET, Scene
from sample_trees import WELL, down, up

from dspex_agents.monitoring.agent_performance import PerformanceLimits, PerformanceWatch
from dspex_agents.monitoring.monitor_messages import (
    GetAlerts,
    GetHealth,
    GetThresholds,
    SetThresholds,
    StartMonitoring,
    StopMonitoring,
)
from dspex_agents.monitoring.roster import Roster
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.monitoring.system_probe import SystemProbe
from dspex_agents.monitoring.thresholds import Thresholds
from dspex_agents.monitoring.vital_signs import VitalWatch, vital_score, vital_status

FAST = Sampling(interval_s=0.001)


def test_bug_threshold_validation_capped_a_response_time_in_milliseconds_at_100() -> None:
    assert Thresholds().response_time == 1000.0
    scene = Scene()

    async def play() -> None:
        await scene.ask(SetThresholds({"response_time": 60_000}))
        assert (await scene.ask(GetThresholds())).response_time == 60_000

    scene.play(play)


def test_bug_cpu_was_read_from_the_wrong_place_with_the_wrong_type_so_that_analysis_failed() -> None:
    scene = Scene(up("a"))
    scene.probe.figures = replace(WELL, cpu_usage=95.0)

    async def play() -> None:
        health = await scene.ask(GetHealth(fresh=True))
        assert [alert.id for alert in health.alerts] == ["cpu_usage:n1"]
        assert health.parts["cpu"] == health.score == 62.5

    scene.play(play)


def test_bug_cpu_that_is_not_known_yet_made_the_analysis_fail() -> None:
    scene = Scene(up("a"))
    scene.probe.figures = replace(WELL, cpu_usage=None)

    async def play() -> None:
        health = await scene.ask(GetHealth(fresh=True))
        assert ("cpu" in health.parts, health.score) == (False, 100.0)

    scene.play(play)


def test_bug_memory_percent_was_bytes_over_one_gib_whatever_the_machine_has(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/stat").write_text("cpu 1 0 1 9 0 0 0 0 0 0\ncpu0 1 0 1 9 0 0 0 0 0 0\n", encoding="ascii")
    sixteen_gib, twelve_gib = 16 * 2**20, 12 * 2**20
    (tmp_path / "proc/meminfo").write_text(
        f"MemTotal: {sixteen_gib} kB\nMemAvailable: {twelve_gib} kB\n", encoding="ascii"
    )
    assert SystemProbe(root=str(tmp_path)).read(0).memory_usage == 25.0  # and not 400


def test_bug_telemetry_was_cast_but_handled_as_info_so_that_no_agent_ever_enrolled() -> None:
    scene = Scene(up("a"), bus=True)

    async def play() -> None:
        await scene.ask(GetHealth(fresh=True))
        assert scene.monitor.details()["agents"] == 1
        scene.nodes.append(up("b"))
        assert (await scene.ask(GetHealth(fresh=True))).agents == 2
        scene.nodes.pop(0)
        assert (await scene.ask(GetHealth(fresh=True))).agents == 1
        await scene.until(lambda: "agent_left" in scene.told())
        assert scene.told().count("agent_enrolled") == 2

    scene.play(play)


def test_bug_thresholds_were_never_checked_on_a_timer() -> None:
    scene = Scene(down("a"), bus=True, sampling=FAST)

    async def play() -> None:
        await scene.until(lambda: "alert_triggered" in scene.told())  # nobody asked

    scene.play(play)


@pytest.mark.parametrize(
    ("kind", "before", "after", "system"),
    [
        ("disk_usage", {}, {}, {"disk_usage": 95.0}),
        ("memory_usage", {}, {}, {"memory_usage": 95.0}),
        ("cpu_usage", {}, {}, {"cpu_usage": 95.0}),
        ("error_rate", {}, {"handled": 50, "failed": 50}, {}),
        ("response_time", {}, {"handled": 50, "busy_s": 100.0}, {}),
        ("agent_failures", {}, {"restarts": 4}, {}),
        ("mailbox_fill", {}, {"mailbox": 90, "mailbox_size": 100}, {}),
        ("process_memory", {}, {"memory": 3 * 2**30}, {}),
        ("queue_growth", {}, {"mailbox": 600, "mailbox_size": 10_000}, {}),
    ],
)
def test_bug_only_memory_cpu_and_failures_were_checked(
    kind: str, before: dict[str, Any], after: dict[str, Any], system: dict[str, float]
) -> None:
    scene = Scene(up("a", **before))

    async def play() -> None:
        assert (await scene.ask(GetHealth(fresh=True))).alerts == ()
        scene.nodes, scene.probe.figures = [up("a", **after)], replace(WELL, **system)
        assert [alert.kind for alert in (await scene.ask(GetHealth(fresh=True))).alerts] == [kind]

    scene.play(play)


def test_bug_every_check_made_a_new_alert() -> None:
    scene = Scene(down("a"), bus=True)

    async def play() -> None:
        for _ in range(10):
            scene.clock.advance(5)
            await scene.ask(GetHealth(fresh=True))
        (entry,) = await scene.ask(GetAlerts())
        assert (entry.alert.id, entry.seen) == ("down:a", 10)
        await scene.until(lambda: scene.told().count("health_analyzed") == 10)
        assert scene.told().count("alert_triggered") == 1

    scene.play(play)


def test_bug_alerts_were_never_resolved_and_told_again_without_a_cooldown() -> None:
    scene = Scene(bus=True)

    async def play() -> None:
        for n in range(60):  # five minutes of flapping
            scene.nodes = [down("a")] if n % 4 == 0 else [up("a")]
            await scene.ask(GetHealth(fresh=True))
            scene.clock.advance(4.9)
        assert await scene.ask(GetAlerts()) == []
        await scene.until(lambda: scene.told().count("health_analyzed") == 60)
        assert scene.told().count("alert_triggered") == 1

    scene.play(play)


@pytest.mark.parametrize(
    ("sampling", "hours"),
    [
        (Sampling(interval_s=30, retention=1440), 12.0),
        (Sampling(interval_s=30, retention=2880), 24.0),
        (Sampling(), 2.0),
    ],
)
def test_bug_1440_samples_of_30_s_were_said_to_be_24_hours(sampling: Sampling, hours: float) -> None:
    assert sampling.retention_h == hours
    scene = Scene(sampling=sampling)

    async def play() -> None:
        assert scene.monitor.details()["retention_h"] == hours
        await scene.ask(StartMonitoring(interval_s=60))
        assert scene.monitor.details()["retention_h"] == sampling.retention / 60

    scene.play(play)


def test_bug_while_stopped_even_start_was_refused() -> None:
    scene = Scene(up("a"), sampling=replace(QUIET, interval_s=0.001))

    async def play() -> None:
        assert await scene.ask(StopMonitoring()) is True
        assert (await scene.ask(GetHealth())).score == 100.0
        assert await scene.ask(StartMonitoring()) is True
        assert await scene.ask(StartMonitoring()) is False
        looks = scene.looks
        await scene.until(lambda: scene.looks > looks)

    scene.play(play)


def test_bug_a_mean_score_called_a_system_without_a_living_agent_good() -> None:
    scene = Scene(down("a"), down("b"))

    async def play() -> None:
        health = await scene.ask(GetHealth(fresh=True))
        assert (health.score, health.band) == (0.0, "critical")

    scene.play(play)


def test_bug_a_full_memory_cost_no_more_than_15_points() -> None:
    scene = Scene(up("a"))
    scene.probe.figures = replace(WELL, memory_usage=100.0)

    async def play() -> None:
        assert (await scene.ask(GetHealth(fresh=True))).band == "critical"

    scene.play(play)


def test_bug_the_fill_of_every_mailbox_was_that_of_one_of_1000() -> None:
    scene = Scene(up("small", mailbox=90, mailbox_size=100), up("large", mailbox=900, mailbox_size=10_000))

    async def play() -> None:
        assert [alert.id for alert in (await scene.ask(GetHealth(fresh=True))).alerts] == ["mailbox_fill:small"]

    scene.play(play)


def test_bug_one_agent_of_ten_thousand_cost_as_much_as_one_of_two() -> None:
    scene = Scene(down("a"), *(up(f"b{n}") for n in range(9999)))

    async def play() -> None:
        assert (await scene.ask(GetHealth(fresh=True))).score == 100.0  # rounded from 99.99
        assert (await scene.ask(GetHealth())).band == "good"

    scene.play(play)


def test_bug_an_anomaly_turned_an_emergency_into_no_more_than_critical() -> None:
    score = vital_score(violations=4, anomalies=2, cpu_usage=100.0, memory_usage=100.0)
    assert (score, vital_status(score, 4, 2)) == (0.0, "emergency")


def test_bug_a_figure_that_cannot_be_read_passed_for_a_good_one() -> None:
    figures = replace(WELL, memory_usage=None, problems=("memory: OSError: no such file",))
    assert VitalWatch().observe(figures, 1, 0, 0.0).status == "warning"


def test_bug_an_idle_agent_was_too_slow_for_it_finished_fewer_than_ten_tasks_a_minute() -> None:
    roster, watch = Roster(window_s=60), PerformanceWatch(PerformanceLimits())
    for n in range(20):
        roster.begin()
        figures, _ = roster.observe(up("a", handled=5), 60.0 * n)
        found = watch.observe(figures)
    assert found is not None
    assert (found.throughput, found.level) == (0.0, "optimal")
