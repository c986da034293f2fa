"""The monitor agent: it samples by itself, answers whatever happens, and says when it cannot see."""

from __future__ import annotations

import asyncio
import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from monitor_scene import Scene
from runtime_contract import echo, spec_of
from sample_agents import Squarer
from sample_trees import WELL, FixedProbe, down, tree, up

from dspex_agents.agent import TreeNode
from dspex_agents.database import Database
from dspex_agents.errors import AgentFailedError, AgentStoppedError, SpecError, SystemStoppedError
from dspex_agents.monitoring.alert_book import AlertRules, UnknownAlertError
from dspex_agents.monitoring.monitor_agent import MonitorAgent
from dspex_agents.monitoring.monitor_messages import (
    AcknowledgeAlert,
    GetAlertHistory,
    GetAlerts,
    GetHealth,
    GetRecommendations,
    GetSamples,
    GetThresholds,
    SetThresholds,
    StartMonitoring,
    StopMonitoring,
)
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.monitoring.thresholds import Thresholds
from dspex_agents.roles.task_agent import TaskAgent
from dspex_agents.runtime.local_runtime import start_local_system
from dspex_agents.signals.signal_bus import SignalBusAgent
from dspex_agents.signals.signal_messages import Replay
from dspex_agents.supervision.child_spec import ChildSpec

FAST = Sampling(interval_s=0.001)


def test_health_is_sampled_on_request_and_kept_until_the_next_sample() -> None:
    scene = Scene(up("a"))

    async def play() -> None:
        assert (await scene.ask(GetHealth())).score == 100.0  # the first one has to look
        scene.nodes = [down("a")]
        assert (await scene.ask(GetHealth())).score == 100.0
        assert (await scene.ask(GetHealth(fresh=True))).score == 0.0
        assert scene.looks == 2

    scene.play(play)


def test_many_who_ask_at_once_share_one_look() -> None:
    scene = Scene(up("a"))
    gate = asyncio.Event()

    async def slow_tree() -> TreeNode:
        scene.looks += 1
        scene.clock.advance(0.1)
        await gate.wait()
        scene.clock.advance(0.1)
        return tree(up("a"))

    scene.host._tree = slow_tree

    async def play() -> None:
        first = asyncio.create_task(scene.ask(GetHealth(fresh=True)))
        await scene.until(lambda: scene.looks == 1)
        others = [asyncio.create_task(scene.ask(GetHealth(fresh=True))) for _ in range(50)]
        await asyncio.sleep(0)
        gate.set()
        assert [health.score for health in await asyncio.gather(first, *others)] == [100.0] * 51
        assert scene.looks == 2  # the look that was under way had begun before the others asked

    scene.play(play)


def test_it_answers_everything_while_a_look_hangs() -> None:
    scene = Scene(up("a"), sampling=FAST)
    hangs = asyncio.Event()

    async def play() -> None:
        await scene.ask(GetHealth(fresh=True))

        async def hang() -> TreeNode:
            hangs.set()
            await asyncio.Event().wait()
            raise AssertionError

        scene.host._tree = hang
        await hangs.wait()
        assert (await scene.ask(GetHealth())).score == 100.0
        for message in (GetAlerts(), GetAlertHistory(), GetThresholds(), GetSamples(), GetRecommendations()):
            await asyncio.wait_for(scene.ask(message), 5)
        assert await asyncio.wait_for(scene.ask(StopMonitoring()), 5)

    scene.play(play)


def test_a_look_that_takes_too_long_is_a_failure_and_the_next_one_comes() -> None:
    scene = Scene(up("a"), sampling=replace(FAST, timeout_s=0.01))

    async def play() -> None:
        good = scene.host._tree

        async def hang() -> TreeNode:
            await asyncio.Event().wait()
            raise AssertionError

        scene.host._tree = hang
        await scene.until(lambda: scene.monitor.details()["failed_samples"] >= 2)
        assert scene.monitor.details()["last_error"] == "TimeoutError: not done within 0.01 s"
        scene.host._tree = good
        await scene.until(lambda: scene.monitor.details()["samples"] >= 1)

    scene.play(play)


@pytest.mark.parametrize("where", ["tree", "probe"])
def test_an_unexpected_error_never_ends_the_sampling_silently(where: str, caplog: Any) -> None:
    scene = Scene(up("a"), sampling=FAST)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("nobody thought of this")

    async def play() -> None:
        await scene.ask(GetHealth(fresh=True))
        good = scene.host._tree, scene.probe.read
        scene.host._tree, scene.probe.read = (broken, good[1]) if where == "tree" else (good[0], broken)
        await scene.until(lambda: scene.monitor.details()["failed_samples"] >= 3)
        health = await scene.ask(GetHealth())
        assert any("samples failed: ZeroDivisionError: nobody thought of this" in text for text in health.problems)
        assert "could not sample: nobody thought of this" in caplog.text
        scene.host._tree, scene.probe.read = good
        before = scene.monitor.details()["samples"]
        await scene.until(lambda: scene.monitor.details()["samples"] > before)
        assert (await scene.ask(GetHealth())).problems == ()
        assert scene.monitor.details()["monitoring"] == "active"

    scene.play(play)


def test_whoever_asks_for_a_fresh_look_that_fails_gets_the_error() -> None:
    scene = Scene()

    async def broken() -> TreeNode:
        raise TimeoutError("the root did not answer")

    scene.host._tree = broken

    async def play() -> None:
        with pytest.raises(TimeoutError, match="the root did not answer"):
            await scene.ask(GetHealth())
        assert scene.monitor.details()["failed_samples"] == 1
        assert scene.monitor.details()["band"] == "unknown"
        assert scene.monitor.details()["problems"] == [
            "the last 1 samples failed: TimeoutError: the root did not answer"
        ]

    scene.play(play)


def test_a_judgement_that_is_too_old_is_no_judgement() -> None:
    scene = Scene(up("a"), sampling=Sampling(interval_s=100.0, timeout_s=10.0))

    async def play() -> None:
        await scene.ask(GetHealth(fresh=True))
        scene.clock.advance(310)
        assert (await scene.ask(GetHealth())).band == "excellent"
        scene.clock.advance(1)
        health = await scene.ask(GetHealth())
        assert (health.band, health.problems) == ("unknown", ("the latest sample is 311 s old",))
        assert (await scene.ask(GetHealth(fresh=True))).band == "excellent"

    scene.play(play)


def test_a_monitor_that_is_stopped_says_so_and_samples_on_request_only() -> None:
    scene = Scene(up("a"), sampling=FAST)

    async def play() -> None:
        await scene.until(lambda: scene.looks >= 2)
        assert await scene.ask(StopMonitoring()) is True
        assert await scene.ask(StopMonitoring()) is False
        looks = scene.looks
        assert scene.monitor.details()["monitoring"] == "stopped"
        for _ in range(100):
            await asyncio.sleep(0)
        assert scene.looks == looks
        assert (await scene.ask(GetHealth())).problems == ("monitoring is stopped",)
        assert (await scene.ask(GetHealth(fresh=True))).score == 100.0
        assert scene.looks == looks + 1

    scene.play(play)


def test_the_interval_can_be_changed_and_a_bad_one_changes_nothing() -> None:
    scene = Scene(up("a"))

    async def play() -> None:
        assert await scene.ask(StartMonitoring()) is False
        with pytest.raises(SpecError, match="interval_s must be above 0"):
            await scene.ask(StartMonitoring(interval_s=0))
        assert scene.monitor.details()["interval_s"] == 3600.0
        assert await scene.ask(StartMonitoring(interval_s=0.001)) is False
        await scene.until(lambda: scene.looks >= 3)

    scene.play(play)


def test_an_alert_is_acknowledged_by_someone_and_resolves_by_itself() -> None:
    scene = Scene(down("a", "gone"), up("b"))

    async def play() -> None:
        await scene.ask(GetHealth())
        with pytest.raises(UnknownAlertError, match="Open: down:a"):
            await scene.ask(AcknowledgeAlert("down:b", by="ann"))
        scene.clock.advance(5)
        entry = await scene.ask(AcknowledgeAlert("down:a", by="ann", note="disk is on order"))
        assert (entry.acknowledged_by, entry.acknowledged_at, entry.note) == ("ann", 1005.0, "disk is on order")
        (found,) = await scene.ask(GetAlerts())
        assert found == entry
        (advice,) = await scene.ask(GetRecommendations())
        assert advice.text == "Agent a is backoff: gone. Look at its last reason and its log."
        scene.nodes = [up("a"), up("b")]
        await scene.ask(GetHealth(fresh=True))
        await scene.ask(GetHealth(fresh=True))
        assert await scene.ask(GetAlerts()) == []
        assert await scene.ask(GetRecommendations()) == ()
        (past,) = await scene.ask(GetAlertHistory())
        assert (past.state, past.acknowledged_by) == ("resolved", "ann")

    scene.play(play)


def test_thresholds_hold_from_the_next_look_on() -> None:
    scene = Scene(up("a"))
    scene.probe.figures = replace(WELL, memory_usage=60.0)

    async def play() -> None:
        assert (await scene.ask(GetHealth(fresh=True))).alerts == ()
        assert (await scene.ask(SetThresholds({"memory_usage": 50}))).memory_usage == 50
        (alert,) = (await scene.ask(GetHealth(fresh=True))).alerts
        assert (alert.id, alert.threshold) == ("memory_usage:n1", 50)
        with pytest.raises(SpecError, match=r"cpu_usage must be .*; disk_usage must be "):
            await scene.ask(SetThresholds({"cpu_usage": 0, "disk_usage": 200, "memory_usage": 90}))
        assert await scene.ask(GetThresholds()) == Thresholds(memory_usage=50)

    scene.play(play)


def test_samples_come_latest_last_and_agents_only_where_asked_for() -> None:
    scene = Scene(up("a"), up("b", mailbox=3))

    async def play() -> None:
        for _ in range(4):
            scene.clock.advance(5)
            await scene.ask(GetHealth(fresh=True))
        samples = await scene.ask(GetSamples(last=3))
        assert [sample.at for sample in samples] == [1010.0, 1015.0, 1020.0]
        assert [len(sample.per_agent) for sample in samples] == [0, 0, 0]
        (latest,) = await scene.ask(GetSamples(agents=True))
        assert [(figures.name, figures.mailbox) for figures in latest.per_agent] == [("a", 0), ("b", 3)]
        assert latest.system == WELL
        assert pickle.loads(pickle.dumps(latest)) == latest

    scene.play(play)


def test_a_sample_says_how_long_it_took() -> None:
    scene = Scene(up("a"))

    async def slow_tree() -> TreeNode:
        scene.clock.advance(0.25)
        return tree(up("a"))

    scene.host._tree = slow_tree

    async def play() -> None:
        await scene.ask(GetHealth(fresh=True))
        assert (await scene.ask(GetSamples()))[0].duration_s == 0.25

    scene.play(play)


def test_others_of_the_process_have_their_turn_while_many_agents_are_looked_at() -> None:
    scene = Scene(*(up(f"a{n}") for n in range(2000)))

    async def play() -> None:
        look = asyncio.create_task(scene.ask(GetHealth(fresh=True)))
        turns = 0
        while not look.done():
            turns += 1
            await asyncio.sleep(0)
        assert 4 <= turns < 50  # one for each 500 agents, and not one for each agent

    scene.play(play)


def test_who_comes_and_who_leaves_is_logged(caplog: Any) -> None:
    caplog.set_level("INFO")
    scene = Scene(up("a"))

    async def play() -> None:
        await scene.ask(GetHealth(fresh=True))
        scene.nodes = [up("b")]
        await scene.ask(GetHealth(fresh=True))

    scene.play(play)
    assert [record.getMessage() for record in caplog.records if record.name.endswith("monitor_agent")] == [
        "monitor 'monitor': agent_enrolled: {'agents': ['a'], 'count': 1}",
        "monitor 'monitor': agent_enrolled: {'agents': ['b'], 'count': 1}",
        "monitor 'monitor': agent_left: {'agents': ['a'], 'count': 1}",
    ]


def test_a_message_it_does_not_know_is_refused() -> None:
    scene = Scene()

    async def play() -> None:
        with pytest.raises(NotImplementedError, match="MonitorAgent knows no control message str"):
            await scene.ask("hello")

    scene.play(play)


# with a bus -----------------------------------------------------------------------------------------------------------
def test_everything_that_happens_is_published() -> None:
    scene = Scene(down("a"), up("b"), bus=True, rules=AlertRules(clear_after=1))

    async def play() -> None:
        await scene.ask(GetHealth())
        await scene.ask(AcknowledgeAlert("down:a", by="ann"))
        await scene.ask(AcknowledgeAlert("down:a", by="bob"))
        await scene.ask(SetThresholds({"error_rate": 9}))
        scene.nodes = [up("a")]
        await scene.ask(GetHealth(fresh=True))
        await scene.ask(StopMonitoring())
        await scene.ask(StartMonitoring())
        await scene.until(lambda: len(scene.signals) == 13)

    scene.play(play)
    look = ["metrics_collected", "health_analyzed"]
    assert scene.told() == [
        "monitoring_started",
        "agent_enrolled",
        *look,
        "alert_triggered",
        "alert_acknowledged",
        "thresholds_updated",
        "agent_left",
        *look,
        "alert_resolved",
        "monitoring_stopped",
        "monitoring_started",
    ]
    enrolled, triggered, acknowledged = scene.signals[1], scene.signals[4], scene.signals[5]
    assert (enrolled.source, enrolled.type, enrolled.data["agents"]) == (
        "/agents/monitor",
        "monitor.agent_enrolled",
        ["a", "b"],
    )
    assert (triggered.subject, triggered.data["severity"], triggered.data["state"]) == ("down:a", "critical", "open")
    assert acknowledged.data["acknowledged_by"] == "ann"


def test_without_a_bus_nothing_is_published() -> None:
    scene = Scene(up("a"))
    scene.play(lambda: scene.ask(GetHealth()))
    assert scene.host.asked == []
    assert scene.monitor.details()["published"] == 0


@pytest.mark.parametrize("error", [SystemStoppedError("the bus is gone"), ZeroDivisionError("odd")])
def test_a_bus_that_fails_is_counted_and_told_and_stops_no_sampling(error: Exception, caplog: Any) -> None:
    scene = Scene(up("a"), bus=True, sampling=FAST)

    async def refuse(to: str, body: Any, **options: Any) -> None:
        raise error

    scene.host._ask = refuse

    async def play() -> None:
        await scene.until(lambda: scene.monitor.details()["samples"] >= 3)
        await scene.until(lambda: scene.monitor.details()["publish_failures"] >= 3)
        details = scene.monitor.details()
        assert (details["publish_error"], details["published"]) == (f"{type(error).__name__}: {error}", 0)
        assert details["failed_samples"] == 0
        assert caplog.text.count("could not publish to 'bus'") == 1  # one that is gone must not fill the log
        scene.host._ask = scene._ask
        await scene.until(lambda: scene.monitor.details()["published"] >= 1)

    scene.play(play)


def test_a_bus_that_hangs_holds_nothing_up_and_what_waits_for_it_is_bounded() -> None:
    scene = Scene(up("a"), bus=True)

    async def hang(to: str, body: Any, **options: Any) -> None:
        assert options["timeout_s"] <= 10
        await asyncio.Event().wait()

    scene.host._ask = hang

    async def play() -> None:
        outbox = scene.monitor._outbox
        assert outbox is not None
        outbox._size = 10
        for _ in range(20):
            await scene.ask(GetHealth(fresh=True))
        details = scene.monitor.details()
        assert details["unpublished"] == 10
        assert details["publish_failures"] > 20
        assert details["samples"] == 20

    scene.play(play)


# in a system ----------------------------------------------------------------------------------------------------------
def monitor(**options: Any) -> ChildSpec:
    return ChildSpec(id="monitor", start=MonitorAgent, kwargs={"probe": FixedProbe(), **options})


def team_worker() -> ChildSpec:
    return ChildSpec(id="w", start=TaskAgent, kwargs={"worker": Squarer})


def test_the_monitor_samples_by_itself(wait: Any) -> None:
    with start_local_system(spec_of(echo(), monitor(sampling=Sampling(interval_s=0.01)))) as system:
        wait(lambda: system.status("monitor").details["samples"] >= 3)
        health = system.ask("monitor", GetHealth(), control=True)
        assert (health.score, health.agents, health.alive) == (100.0, 2, 2)


def test_an_open_alert_of_a_real_system_can_be_acknowledged_and_an_unknown_one_cannot() -> None:
    with start_local_system(spec_of(echo(restart="temporary"), monitor())) as system:
        with pytest.raises(AgentStoppedError):
            system.ask("echo", "exit-crash")
        with pytest.raises(SystemStoppedError):
            system.ask("echo", 1)
        system.ask("monitor", GetHealth(fresh=True), control=True)
        assert system.ask("monitor", AcknowledgeAlert("down:echo", by="ann"), control=True).acknowledged
        system.ask("monitor", GetHealth(fresh=True), control=True)
        (entry,) = system.ask("monitor", GetAlerts(), control=True)
        assert (entry.acknowledged_by, entry.seen) == ("ann", 2)
        with pytest.raises(UnknownAlertError, match=r"No open alert 'x'. Open: down:echo"):
            system.ask("monitor", AcknowledgeAlert("x", by="ann"), control=True)
        with pytest.raises(AgentFailedError, match="did you mean 'cpu_usage'"):
            system.ask("monitor", SetThresholds({"cpu_usag": 1}), control=True)
        details = system.status("monitor").details
        assert (details["score"], details["band"], details["open_alerts"]) == (50.0, "fair", 1)


def test_a_monitor_that_is_paused_goes_on() -> None:
    with start_local_system(spec_of(echo(), monitor())) as system:
        system.pause("monitor")
        assert system.ask("monitor", GetHealth(fresh=True), control=True).score == 100.0


def test_agents_that_are_added_and_removed_while_the_system_runs_enrol_and_leave() -> None:
    with start_local_system(spec_of(echo(), monitor())) as system:
        assert system.ask("monitor", GetHealth(fresh=True), control=True).agents == 2
        system.start_children("top", [echo(f"late-{n}") for n in range(5)])
        assert system.ask("monitor", GetHealth(fresh=True), control=True).agents == 7
        assert system.stop_child("late-0")
        health = system.ask("monitor", GetHealth(fresh=True), control=True)
        assert (health.agents, health.alive, health.score) == (6, 6, 100.0)
        assert system.status("monitor").details["agents"] == 6


def test_an_agent_that_works_badly_is_an_alert_from_its_real_figures() -> None:
    limits = Thresholds(response_time=20.0, min_handled=3)
    with start_local_system(spec_of(team_worker(), echo(), monitor(thresholds=limits))) as system:
        for _ in range(3):
            system.ask("w", ("slow", 0.05, None))
            with pytest.raises(AgentFailedError):
                system.ask("echo", "boom")
        health = system.ask("monitor", GetHealth(fresh=True), control=True)
        assert [alert.id for alert in health.alerts] == ["response_time:w", "error_rate:echo"]
        assert health.alerts[0].current >= 45.0  # milliseconds; a busy machine may take longer


def test_a_mailbox_that_fills_is_held_against_its_real_size(wait: Any) -> None:
    with start_local_system(spec_of(echo(mailbox_size=10), monitor())) as system:
        askers = [threading.Thread(target=lambda: system.ask("echo", "wait", timeout_s=20)) for _ in range(10)]
        for asker in askers:
            asker.start()
        wait(lambda: system.status("echo").mailbox == 9)
        health = system.ask("monitor", GetHealth(fresh=True), control=True)
        assert [(alert.id, alert.current) for alert in health.alerts] == [("mailbox_fill:echo", 90.0)]
        assert system.ask("echo", "open", control=True)
        for asker in askers:
            asker.join(20)


def test_what_happens_is_on_the_bus_of_a_real_system(tmp_path: Path, wait: Any) -> None:
    bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs={"database": Database(str(tmp_path / "signals.db"))})
    with start_local_system(spec_of(bus, echo(), monitor(bus="bus"))) as system:
        system.ask("monitor", GetHealth(fresh=True), control=True)
        wait(lambda: system.status("monitor").details["published"] == 4)
        entries = system.ask("bus", Replay("monitor.*")).signals
        assert [entry.signal.type.partition(".")[2] for entry in entries] == [
            "monitoring_started",
            "agent_enrolled",
            "metrics_collected",
            "health_analyzed",
        ]
        assert entries[2].signal.data["agents"]["alive"] == 3
