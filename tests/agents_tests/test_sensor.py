"""Sensors under the in-process runtime: they publish by the clock, and a dead one surfaces."""

from __future__ import annotations

import contextlib
import datetime as dt
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_agents import (
    AgentFailedError,
    AgentStoppedError,
    ChildSpec,
    CountingIds,
    CronSensor,
    CronTimes,
    Database,
    IntervalSensor,
    ManualClock,
    MetricRule,
    MetricSensor,
    MetricWatch,
    PollDue,
    PollNow,
    PushData,
    PushEvent,
    PushSensor,
    Replay,
    Signal,
    SignalBusAgent,
    SpecError,
    Subscribe,
    Subscription,
    SupervisorSpec,
    System,
    SystemSpec,
    start_local_system,
)
from dspex_agents.agent import Agent

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC).timestamp()


class Inbox(Agent):
    def __init__(self, inbox: queue.Queue[Any]) -> None:
        self._inbox = inbox

    async def on_message(self, body: Any) -> None:
        self._inbox.put(body.signal)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def start(tmp_path: Path, clock: ManualClock) -> Iterator[Callable[..., System]]:
    with contextlib.ExitStack() as stack:

        def begin(kind: type[Agent], *others: ChildSpec, real_time: bool = False, **kwargs: Any) -> System:
            bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs={"database": Database(str(tmp_path / "signals.db"))})
            sensor = ChildSpec(id="sensor", start=kind, kwargs={"bus": "bus", "ids": CountingIds(), **kwargs})
            top = SupervisorSpec(id="top", children=(bus, *others, sensor), intensity=5)
            spec = SystemSpec(name="sensors", supervisor=top)
            return stack.enter_context(start_local_system(spec, clock=None if real_time else clock))

        yield begin


def published(system: System) -> list[Signal]:
    return [entry.signal for entry in system.ask("bus", Replay()).signals]


def sensor_node(system: System) -> Any:
    return next(node for node in system.tree().agents() if node.id == "sensor")


def test_an_interval_sensor_polls_when_it_is_due_and_not_before(start: Any, clock: ManualClock) -> None:
    system = start(IntervalSensor, type_="load.read", interval_s=60, read=lambda: {"load": 0.5})
    clock.advance(59)
    assert system.ask("sensor", PollDue()) is None
    clock.advance(1)
    assert system.ask("sensor", PollDue()) == 1
    (signal,) = published(system)
    assert (signal.type, signal.source, signal.data) == ("load.read", "/sensors/sensor", {"load": 0.5})
    assert signal.time == "2026-01-31T12:01:00.000000Z"


def test_polls_that_were_missed_are_counted_and_the_grid_is_kept(start: Any, clock: ManualClock) -> None:
    system = start(IntervalSensor, type_="beat", interval_s=60)
    clock.advance(200)
    assert system.ask("sensor", PollDue()) == 1
    details = system.status("sensor").details
    assert (details["missed"], details["next_poll_at"]) == (2, NOON + 240)
    clock.advance(10_000_000)
    assert system.ask("sensor", PollDue()) == 1
    assert system.status("sensor").details["next_poll_at"] > clock.now()


def test_a_sensor_runs_by_itself_in_real_time_and_its_subscribers_hear_it(start: Any) -> None:
    inbox: queue.Queue[Signal] = queue.Queue()
    ears = ChildSpec(id="ears", start=Inbox, kwargs={"inbox": inbox})
    system = start(IntervalSensor, ears, real_time=True, type_="beat", interval_s=0.05)
    system.ask("bus", Subscribe(Subscription(agent="ears", pattern="beat", max_in_flight=1), since=0))
    assert [inbox.get(timeout=20).data["beat"] for _ in range(3)] == [1, 2, 3]


def test_an_async_read_that_gives_none_says_nothing(start: Any) -> None:
    async def read() -> None:
        return None

    system = start(IntervalSensor, type_="x", interval_s=60, read=read)
    assert system.ask("sensor", PollNow()) == 0
    assert published(system) == []


def test_a_sensor_whose_polls_keep_failing_ends_and_its_supervisor_sees_why(start: Any) -> None:
    mood = {"fails": True}

    def read() -> int:
        if mood["fails"]:
            raise OSError("no such device")
        return 1

    system = start(IntervalSensor, type_="x", interval_s=60, read=read, max_failures=2)
    assert system.ask("sensor", PollNow()) == 0
    details = system.status("sensor").details
    assert (details["failures"], details["last_error"]) == (1, "OSError: no such device")
    with pytest.raises(AgentStoppedError, match="2 polls in a row failed, the last with OSError: no such device"):
        system.ask("sensor", PollNow())
    mood["fails"] = False
    assert system.ask("sensor", PollNow()) == 1
    node = sensor_node(system)
    assert node.restarts == 1
    assert "no such device" in node.last_reason


def test_the_timer_of_a_failing_sensor_ends_it_without_being_asked(start: Any, wait: Any) -> None:
    def read() -> int:
        raise OSError("no such device")

    system = start(IntervalSensor, real_time=True, type_="x", interval_s=0.01, read=read)
    wait(lambda: sensor_node(system).restarts > 0)
    assert "3 polls in a row failed" in sensor_node(system).last_reason


def test_a_good_poll_forgives_the_failures_before_it(start: Any) -> None:
    answers = iter([None, OSError(), None, OSError(), None])

    def read() -> None:
        if (answer := next(answers)) is not None:
            raise answer

    system = start(IntervalSensor, type_="x", interval_s=60, read=read, max_failures=2)
    for _ in range(5):
        system.ask("sensor", PollNow())
    assert system.status("sensor").details["failures"] == 0


def test_a_poll_that_hangs_is_a_failure(start: Any) -> None:
    import asyncio  # noqa: PLC0415 - this test alone hangs

    async def read() -> None:
        await asyncio.Event().wait()

    system = start(IntervalSensor, type_="x", interval_s=60, read=read, poll_timeout_s=0.01, max_failures=1)
    with pytest.raises(AgentStoppedError, match=r"TimeoutError: not done within 0\.01 s"):
        system.ask("sensor", PollNow())


def test_signals_that_could_not_be_published_are_kept_and_go_first(start: Any) -> None:
    system = start(IntervalSensor, type_="x", interval_s=60, publish_timeout_s=0.01, max_failures=3)
    system.pause("bus")
    # the manual clock stands still: only a missing bus fails at once
    sensor = system._root._target._placement.route("sensor").port._target._cells["sensor"].agent
    sensor.bus = "no-bus"
    system.ask("sensor", PollNow())
    assert system.status("sensor").details["unpublished"] == 1
    sensor.bus = "bus"
    system.resume("bus")
    assert system.ask("sensor", PollNow()) == 1
    assert [signal.data for signal in published(system)] == [{"beat": 1}]


@pytest.mark.parametrize(("broken_call", "told"), [(1, "its timer broke"), (2, "its schedule broke")])
def test_a_timer_that_breaks_ends_the_sensor_instead_of_leaving_it_deaf(
    start: Any, wait: Any, broken_call: int, told: str
) -> None:
    calls = []

    class Odd(IntervalSensor):
        def next_after(self, now: float) -> Any:
            calls.append(now)
            return "soon" if len(calls) == broken_call else now + (0.001 if len(calls) < 3 else 3600)

    system = start(Odd, real_time=True, type_="x", interval_s=1)
    wait(lambda: f"{told}: TypeError" in sensor_node(system).last_reason)
    assert system.ask("sensor", PollNow()) == 1


def test_a_cron_sensor_publishes_at_the_times_of_its_expression(start: Any, clock: ManualClock) -> None:
    system = start(CronSensor, type_="report.due", expression="30 9 * * MON-FRI", timezone="Europe/Berlin")
    monday = dt.datetime(2026, 2, 2, 9, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert system.status("sensor").details["next_poll_at"] == monday
    clock.advance(monday - NOON)
    assert system.ask("sensor", PollDue()) == 1
    (signal,) = published(system)
    assert signal.data == {"at": "2026-02-02T08:30:00.000000Z", "cron": "30 9 * * MON-FRI"}


@pytest.mark.parametrize(
    ("expression", "timezone", "told"),
    [
        ("* * * *", "UTC", r"Wrong number of fields.*minute hour"),
        ("61 * * * *", "UTC", "Bad minute"),
        ("0 0 30 2 *", "UTC", "Bad day-of-month"),
        ("0 0 */31 * MON#5", "UTC", "never occurs"),  # the first of a month is never its fifth Monday
        ("* * * * *", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("* * * * *", "../etc/passwd", "no time zone"),
    ],
)
def test_a_cron_expression_that_cannot_be_used_is_a_named_error(expression: str, timezone: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        CronTimes(expression, timezone)


@settings(deadline=None)  # a busy machine is no failure
@given(
    now=st.floats(min_value=0, max_value=4e9),
    minute=st.sampled_from(["0", "30", "*/7", "5-10"]),
    hour=st.sampled_from(["*", "2", "3", "1-3"]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)
def test_the_next_time_of_a_cron_expression_is_always_later(now: float, minute: str, hour: str, timezone: str) -> None:
    times = CronTimes(f"{minute} {hour} * * *", timezone)
    following = times.next_after(now)
    assert now < following <= now + 49 * 3600
    assert following == int(following)
    assert times.next_after(following) > following


def test_in_the_hour_that_comes_twice_a_fixed_time_occurs_once() -> None:
    times = CronTimes("30 2 * * *", "Europe/Berlin")
    once = dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC).timestamp()
    assert times.next_after(once - 60) == once
    assert times.next_after(once + 1800) == dt.datetime(2026, 10, 26, 1, 30, tzinfo=dt.UTC).timestamp()


def test_a_metric_beyond_its_bound_is_told_once_within_the_cooldown() -> None:
    watch = MetricWatch(MetricRule(high=80, cooldown_s=300))
    assert watch.observe(80, 0) == []
    (finding,) = watch.observe(81, 1)
    assert (finding.kind, finding.bound, finding.suppressed) == ("above", 80, 0)
    assert [watch.observe(90, at) for at in (2, 300)] == [[], []]
    assert watch.kept_back == 2
    (finding,) = watch.observe(95, 301)
    assert (finding.value, finding.suppressed) == (95, 2)


def test_an_anomaly_needs_ten_samples_and_more_than_two_deviations() -> None:
    watch = MetricWatch(MetricRule())
    for n in range(9):
        assert watch.observe(10 + n % 2, n) == []
    assert MetricWatch(MetricRule()).observe(1e9, 0) == []
    assert watch.observe(10, 9) == []
    mean, deviation = 10.4, 0.24**0.5
    assert watch.observe(mean + 1.9 * deviation, 10) == []
    (finding,) = watch.observe(50, 11)
    assert finding.kind == "anomaly"
    assert finding.deviation is not None
    assert finding.bound == pytest.approx(finding.mean + 2 * finding.deviation)


def test_a_constant_metric_is_no_anomaly_and_leaving_the_constant_is_one() -> None:
    watch = MetricWatch(MetricRule())
    assert all(watch.observe(0.1, n) == [] for n in range(50))
    (finding,) = watch.observe(0.2, 50)
    assert (finding.kind, finding.deviation) == ("anomaly", pytest.approx(0, abs=1e-12))


@pytest.mark.parametrize(
    "fields",
    [{"high": 1, "low": 1}, {"sigmas": 0}, {"min_samples": 1}, {"min_samples": 11, "history": 10}, {"cooldown_s": -1}],
)
def test_a_rule_that_cannot_work_is_a_named_error(fields: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(fields))):
        MetricRule(**fields)


def test_a_metric_sensor_publishes_findings_and_refuses_what_is_no_number(start: Any) -> None:
    readings = iter([10, 99, "many", float("nan"), 5])
    rule = MetricRule(high=80)
    system = start(MetricSensor, type_="queue.depth", read=lambda: next(readings), interval_s=60, rule=rule)
    assert [system.ask("sensor", PollNow()) for _ in range(2)] == [0, 1]
    (signal,) = published(system)
    assert signal.type == "queue.depth.above"
    assert signal.data == {"value": 99.0, "bound": 80, "mean": None, "deviation": None, "suppressed": 0}
    for told in ("a metric must be a number, got a str", "a metric must be a finite number, got nan"):
        system.ask("sensor", PollNow())
        assert told in system.status("sensor").details["last_error"]


def test_what_is_pushed_is_published_and_answered_with_the_receipt(start: Any) -> None:
    system = start(PushSensor, type_="hook.came")
    assert system.ask("sensor", PushData({"n": 1}, id="e1", subject="s")).sequence == 1
    assert system.ask("sensor", PushData({"n": 1}, id="e1")).duplicate
    event = Signal(id="7", source="https://example.com/", type="their.own", data=[1])
    assert system.ask("sensor", PushEvent(event.to_json())).sequence == 2
    first, second = published(system)
    assert (first.id, first.type, first.subject, first.source) == ("e1", "hook.came", "s", "/sensors/sensor")
    assert second == event


def test_a_push_that_is_no_event_is_answered_with_what_is_wrong(start: Any) -> None:
    system = start(PushSensor, type_="hook.came")
    with pytest.raises(AgentFailedError, match="'type' is required"):
        system.ask("sensor", PushEvent('{"specversion":"1.0","id":"1","source":"/a"}'))
    assert published(system) == []


def test_silence_is_told_once_until_something_comes_again(start: Any, clock: ManualClock) -> None:
    system = start(PushSensor, type_="hook.came", quiet_after_s=100)
    counts = []
    for _ in range(3):
        clock.advance(99)
        counts.append(system.ask("sensor", PollDue()))
    assert counts == [0, 1, 0]
    assert [signal.type for signal in published(system)] == ["hook.came.silent"]
    assert system.status("sensor").details["silent"]
    system.ask("sensor", PushData(1))
    clock.advance(100)
    assert system.ask("sensor", PollDue()) == 1
    assert [signal.type for signal in published(system)][1:] == ["hook.came", "hook.came.silent"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: IntervalSensor("bus", "x", interval_s=0), "interval_s"),
        (lambda: IntervalSensor("bus", "x", interval_s=float("nan")), "interval_s"),
        (lambda: IntervalSensor("bus", "x", interval_s=1, max_failures=0), "max_failures"),
        (lambda: IntervalSensor("bus", "x", interval_s=1, poll_timeout_s=-1), "poll_timeout_s"),
        (lambda: PushSensor("bus", "x", quiet_after_s=0), "quiet_after_s"),
    ],
)
def test_a_sensor_that_cannot_work_is_a_named_error(make: Callable[[], Agent], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        make()
