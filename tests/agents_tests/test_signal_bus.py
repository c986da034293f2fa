"""The signal bus under the in-process runtime: at least once, bounded, durable, and nothing dropped in silence."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dspex_agents import (
    Agent,
    AgentFailedError,
    AgentStoppedError,
    Backoff,
    ChildSpec,
    Database,
    DeadlineExceededError,
    DeliverDue,
    DiscardDeadSignals,
    GetDeadSignals,
    ManualClock,
    PatternError,
    PruneLog,
    Publish,
    PublishReceipt,
    RedriveDeadSignals,
    Replay,
    Signal,
    SignalBusAgent,
    SignalDelivery,
    SpecError,
    StoreError,
    Subscribe,
    Subscription,
    SupervisorSpec,
    System,
    SystemSpec,
    Unsubscribe,
    start_local_system,
)
from dspex_agents.signals.signal_delivery import Delivery, DeliveryQueue

Start = Callable[..., System]
STEADY = Backoff(initial_s=10.0, factor=2.0, max_s=60.0, jitter=0.0)


class Subscriber(Agent):
    """Puts deliveries into `inbox`, fails while `mood` says so, and waits for `gate` if there is one."""

    concurrency = 100

    def __init__(
        self, inbox: queue.Queue[SignalDelivery], mood: dict[str, Any], gate: threading.Event | None = None
    ) -> None:
        self._inbox, self._mood, self._gate = inbox, mood, gate

    async def on_message(self, body: Any) -> None:
        self._inbox.put(body)
        if self._gate is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._gate.wait, 20)
        if self._mood.get("fails"):
            raise ValueError("not today")


@pytest.fixture
def inbox() -> queue.Queue[SignalDelivery]:
    return queue.Queue()


@pytest.fixture
def mood() -> dict[str, Any]:
    return {}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def start(
    tmp_path: Path, inbox: queue.Queue[SignalDelivery], mood: dict[str, Any], clock: ManualClock
) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def begin(*others: ChildSpec, gate: threading.Event | None = None) -> System:
            kwargs = {"database": Database(str(tmp_path / "signals.db"))}
            bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs=kwargs, isolation="own")
            ears = ChildSpec(id="ears", start=Subscriber, kwargs={"inbox": inbox, "mood": mood, "gate": gate})
            top = SupervisorSpec(id="top", children=(bus, ears, *others))
            return stack.enter_context(start_local_system(SystemSpec(name="signals", supervisor=top), clock=clock))

        yield begin


def signal(n: int = 1, type_: str = "order.paid") -> Signal:
    return Signal(id=str(n), source="/tests", type=type_, data={"n": n})


def subscribe(system: System, pattern: str = "order.*", *, since: int | None = None, **fields: Any) -> str:
    fields = {"agent": "ears", "retry": STEADY, **fields}
    id_: str = system.ask("bus", Subscribe(Subscription(pattern=pattern, **fields), since))
    return id_


def bus_of(system: System) -> dict[str, Any]:
    return dict(system.status("bus").details)


def settled(system: System, wait: Callable[..., None], **expected: int) -> dict[str, Any]:
    """Wait until the only subscription shows these figures."""

    def holds() -> bool:
        (figures,) = bus_of(system)["subscriptions"].values()
        return all(figures[name] == value for name, value in expected.items())

    wait(holds, what=f"{expected}")
    (figures,) = bus_of(system)["subscriptions"].values()
    return figures


def test_a_signal_reaches_the_subscriptions_it_fits_and_is_acknowledged(start: Start, inbox: Any, wait: Any) -> None:
    system = start()
    id_ = subscribe(system)
    assert id_ == "ears:order.*"
    assert system.ask("bus", Publish(signal(1, "invoice.paid"))) == PublishReceipt(1, 0)
    assert system.ask("bus", Publish(signal(2))) == PublishReceipt(2, 1)
    assert inbox.get(timeout=20) == SignalDelivery(signal(2), id_, 2, 1)
    assert settled(system, wait, acknowledged=1, in_flight=0, pending=0)["state"] == "active"
    assert inbox.empty()
    assert bus_of(system)["unrouted"] == 1


def test_signals_come_in_the_order_in_which_they_were_published(start: Start, inbox: Any) -> None:
    system = start()
    subscribe(system, max_in_flight=1)
    for n in range(1, 21):
        system.ask("bus", Publish(signal(n)))
    assert [inbox.get(timeout=20).signal.data["n"] for _ in range(20)] == list(range(1, 21))


def test_a_higher_priority_is_served_first(start: Start, inbox: Any) -> None:
    system = start()
    subscribe(system, "order.paid", id="late", priority=-5)
    subscribe(system, "**", id="early", priority=5)
    system.ask("bus", Publish(signal()))
    assert [inbox.get(timeout=20).subscription for _ in range(2)] == ["early", "late"]


def test_a_signal_published_twice_is_stored_and_delivered_once(start: Start, inbox: Any, wait: Any) -> None:
    system = start()
    subscribe(system)
    system.ask("bus", Publish(signal()))
    assert system.ask("bus", Publish(signal())) == PublishReceipt(1, 0, duplicate=True)
    settled(system, wait, acknowledged=1, in_flight=0)
    assert inbox.qsize() == 1


def test_a_failed_delivery_is_repeated_when_it_is_due_and_not_before(
    start: Start, inbox: Any, mood: dict[str, Any], clock: ManualClock, wait: Any
) -> None:
    system = start()
    subscribe(system)
    mood["fails"] = True
    system.ask("bus", Publish(signal()))
    figures = settled(system, wait, failed_attempts=1, in_flight=0, pending=1)
    assert figures["state"] == "failing"
    assert "ValueError: not today" in figures["last_error"]
    mood["fails"] = False
    clock.advance(9.9)
    assert system.ask("bus", DeliverDue(), control=True) == 0
    clock.advance(0.1)
    assert system.ask("bus", DeliverDue(), control=True) == 1
    assert settled(system, wait, acknowledged=1, pending=0)["state"] == "active"
    assert [inbox.get(timeout=20).attempt for _ in range(2)] == [1, 2]


def test_the_bus_repeats_by_itself_when_time_passes(inbox: Any, mood: dict[str, Any], tmp_path: Path) -> None:
    bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs={"database": Database(str(tmp_path / "s.db"))})
    ears = ChildSpec(id="ears", start=Subscriber, kwargs={"inbox": inbox, "mood": mood})
    spec = SystemSpec(name="real-time", supervisor=SupervisorSpec(id="top", children=(bus, ears)))
    with start_local_system(spec) as system:
        subscribe(system, retry=Backoff(initial_s=0.01, jitter=0.0))
        mood["fails"] = True
        system.ask("bus", Publish(signal()))
        assert [inbox.get(timeout=20).attempt for _ in range(3)] == [1, 2, 3]
        mood["fails"] = False


def test_after_its_attempts_a_signal_is_a_dead_letter_and_can_be_delivered_again(
    start: Start, inbox: Any, mood: dict[str, Any], clock: ManualClock, wait: Any
) -> None:
    system = start()
    id_ = subscribe(system, max_attempts=2)
    mood["fails"] = True
    system.ask("bus", Publish(signal()))
    settled(system, wait, failed_attempts=1, pending=1)
    clock.advance(10)
    system.ask("bus", DeliverDue(), control=True)
    settled(system, wait, failed_attempts=2, pending=0, in_flight=0)
    (letter,) = system.ask("bus", GetDeadSignals(id_))
    assert (letter.subscription, letter.signal, letter.attempts, letter.dead_at) == (id_, signal(), 2, 1010.0)
    assert "not today" in letter.reason
    assert bus_of(system)["dead_letters"] == {id_: 1}
    mood["fails"] = False
    assert system.ask("bus", RedriveDeadSignals(id_)) == 1
    settled(system, wait, acknowledged=1)
    assert system.ask("bus", GetDeadSignals()) == []
    assert bus_of(system)["dead_letters"] == {}
    assert [inbox.get(timeout=20).attempt for _ in range(3)] == [1, 2, 1]


def test_a_dead_letter_is_discarded_only_when_told_to(start: Start, mood: dict[str, Any], wait: Any) -> None:
    system = start()
    id_ = subscribe(system, max_attempts=1)
    mood["fails"] = True
    for n in (1, 2):
        system.ask("bus", Publish(signal(n)))
    settled(system, wait, failed_attempts=2, in_flight=0)
    assert system.ask("bus", DiscardDeadSignals(id_, (1,))) == 1
    assert [letter.sequence for letter in system.ask("bus", GetDeadSignals())] == [2]


def test_a_subscriber_that_is_gone_surfaces_in_dead_letters_and_status(start: Start, wait: Any) -> None:
    system = start()
    id_ = subscribe(system, agent="nobody")
    system.ask("bus", Publish(signal()))
    assert settled(system, wait, failed_attempts=1, in_flight=0)["state"] == "gone"
    assert bus_of(system)["gone"] == ["nobody"]
    (letter,) = system.ask("bus", GetDeadSignals(id_))
    assert "UnknownAgentError" in letter.reason


def test_no_more_than_allowed_is_in_flight_and_a_full_queue_makes_publishers_wait(start: Start, wait: Any) -> None:
    gate = threading.Event()
    system = start(gate=gate)
    subscribe(system, max_in_flight=2, max_pending=3)
    for n in (1, 2, 3):
        system.ask("bus", Publish(signal(n)))
    settled(system, wait, in_flight=2, pending=1)
    receipts: list[PublishReceipt] = []
    publisher = threading.Thread(target=lambda: receipts.append(system.ask("bus", Publish(signal(4)), timeout_s=20)))
    publisher.start()
    wait(lambda: bus_of(system)["blocked_publishers"] == 1)
    assert system.ask("bus", Publish(signal(5, "other"))).subscriptions == 0  # nobody else has to wait
    assert not receipts
    gate.set()
    publisher.join(20)
    settled(system, wait, acknowledged=4)
    assert receipts[0].subscriptions == 1


def test_a_publisher_that_waits_in_vain_is_told_and_nothing_is_stored(inbox: Any, mood: Any, tmp_path: Path) -> None:
    gate = threading.Event()
    bus = ChildSpec(id="bus", start=SignalBusAgent, kwargs={"database": Database(str(tmp_path / "s.db"))})
    ears = ChildSpec(id="ears", start=Subscriber, kwargs={"inbox": inbox, "mood": mood, "gate": gate})
    spec = SystemSpec(name="full", supervisor=SupervisorSpec(id="top", children=(bus, ears)))
    with start_local_system(spec) as system:
        subscribe(system, max_in_flight=1, max_pending=1)
        system.ask("bus", Publish(signal(1)))
        with pytest.raises(DeadlineExceededError):
            system.ask("bus", Publish(signal(2)), timeout_s=0.1)
        gate.set()
        assert [entry.signal for entry in system.ask("bus", Replay()).signals] == [signal(1)]


def test_a_full_queue_may_send_signals_to_the_dead_letters_instead(start: Start, wait: Any) -> None:
    gate = threading.Event()
    system = start(gate=gate)
    id_ = subscribe(system, max_pending=1, when_full="dead_letter")
    for n in (1, 2):
        system.ask("bus", Publish(signal(n)))
    (letter,) = system.ask("bus", GetDeadSignals(id_))
    assert (letter.sequence, letter.reason, letter.attempts) == (2, "its queue was full", 0)
    assert bus_of(system)["dead_letters"] == {id_: 1}
    assert system.ask("bus", RedriveDeadSignals(id_)) == 0  # no room yet
    gate.set()
    settled(system, wait, acknowledged=1)
    assert system.ask("bus", RedriveDeadSignals(id_)) == 1
    settled(system, wait, acknowledged=2)


def test_a_restarted_bus_still_has_its_subscriptions_attempts_and_dead_letters(
    start: Start, inbox: Any, mood: dict[str, Any], clock: ManualClock, wait: Any
) -> None:
    system = start()
    subscribe(system, max_attempts=2)
    mood["fails"] = True
    system.ask("bus", Publish(signal()))
    settled(system, wait, failed_attempts=1, pending=1)
    system.stop()
    again = start()
    settled(again, wait, failed_attempts=0, pending=1)
    assert bus_of(again)["last_sequence"] == 1
    clock.advance(10)
    again.ask("bus", DeliverDue(), control=True)
    settled(again, wait, failed_attempts=1, pending=0, in_flight=0)
    assert [letter.attempts for letter in again.ask("bus", GetDeadSignals())] == [2]
    assert [inbox.get(timeout=20).attempt for _ in range(2)] == [1, 2]


def test_a_killed_bus_delivers_after_its_restart_what_it_had_taken(start: Start, inbox: Any, wait: Any) -> None:
    gate = threading.Event()
    system = start(gate=gate)
    subscribe(system)
    system.ask("bus", Publish(signal()))
    inbox.get(timeout=20)
    system._root._target._placement.route("bus").port.kill()
    assert inbox.get(timeout=20).signal == signal()  # before the first delivery was answered
    gate.set()


def test_unsubscribing_turns_what_was_pending_into_dead_letters(start: Start, wait: Any, mood: dict[str, Any]) -> None:
    system = start()
    id_ = subscribe(system)
    mood["fails"] = True
    system.ask("bus", Publish(signal()))
    settled(system, wait, failed_attempts=1, pending=1)
    assert system.ask("bus", Unsubscribe(id_)) == 1
    assert [letter.reason for letter in system.ask("bus", GetDeadSignals())] == ["unsubscribed"]
    assert system.ask("bus", Publish(signal(2))).subscriptions == 0
    with pytest.raises(AgentFailedError, match="No subscription 'ears:order"):
        system.ask("bus", Unsubscribe(id_))
    mood["fails"] = False
    subscribe(system)
    assert system.ask("bus", RedriveDeadSignals(id_)) == 1
    settled(system, wait, acknowledged=1)


def test_the_log_is_replayed_by_pattern_from_a_sequence_or_a_time_page_by_page(
    start: Start, clock: ManualClock
) -> None:
    system = start()
    for n in range(1, 7):
        system.ask("bus", Publish(signal(n, "order.paid" if n % 2 else "order.lost")))
        clock.advance(1)
    page = system.ask("bus", Replay("*.paid", limit=2))
    assert [entry.sequence for entry in page.signals] == [1, 3]
    page = system.ask("bus", Replay("*.paid", since=page.next_since, limit=2))
    assert ([entry.signal for entry in page.signals], page.next_since) == ([signal(5)], None)
    page = system.ask("bus", Replay(since_time=1004.0))
    assert [(entry.sequence, entry.at) for entry in page.signals] == [(5, 1004.0), (6, 1005.0)]


def test_a_subscription_since_a_sequence_gets_the_log_and_then_what_follows(start: Start, inbox: Any) -> None:
    system = start()
    for n in (1, 2, 3):
        system.ask("bus", Publish(signal(n)))
    subscribe(system, since=1, max_in_flight=1)
    system.ask("bus", Publish(signal(4)))
    assert [inbox.get(timeout=20).sequence for _ in range(3)] == [2, 3, 4]
    with pytest.raises(AgentFailedError, match="more than 1 signals since 0"):
        subscribe(system, id="small", since=0, max_pending=1)


def test_pruning_spares_what_is_still_to_be_delivered(start: Start, mood: dict[str, Any], wait: Any) -> None:
    system = start()
    subscribe(system, "order.lost", max_attempts=1)
    mood["fails"] = True
    system.ask("bus", Publish(signal(1)))
    system.ask("bus", Publish(signal(2, "order.lost")))
    settled(system, wait, failed_attempts=1, in_flight=0)
    assert system.ask("bus", PruneLog(before=2000.0)) == 1
    assert [entry.sequence for entry in system.ask("bus", Replay()).signals] == [2]


def test_a_store_that_breaks_in_a_delivery_ends_the_bus_and_its_supervisor_restarts_it(
    start: Start, inbox: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()

    def acknowledge(*args: Any) -> None:
        if not broken.is_set():
            broken.set()
            raise StoreError("the disk is full")
        genuine(*args)

    from dspex_agents.signals.signal_log import SignalLog  # noqa: PLC0415 - its method is replaced

    genuine = SignalLog.acknowledge
    monkeypatch.setattr(SignalLog, "acknowledge", acknowledge)
    system = start()
    subscribe(system)
    system.ask("bus", Publish(signal()))
    wait(lambda: next(n for n in system.tree().agents() if n.id == "bus").restarts == 1)
    assert next(n for n in system.tree().agents() if n.id == "bus").last_reason == "StoreError: the disk is full"
    settled(system, wait, acknowledged=1)
    assert [inbox.get(timeout=20).sequence for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        ({"pattern": "a.b*"}, PatternError, "whole segment"),
        ({"priority": 200}, PatternError, "priority"),
        ({"agent": ""}, SpecError, "agent must be"),
        ({"max_in_flight": 0}, SpecError, "max_in_flight"),
        ({"max_pending": 1.5}, SpecError, "max_pending"),
        ({"max_attempts": True}, SpecError, "max_attempts"),
        ({"ack_timeout_s": 0}, SpecError, "ack_timeout_s"),
        ({"when_full": "drop"}, SpecError, "'block' or 'dead_letter'"),
    ],
)
def test_a_bad_subscription_is_a_named_error(fields: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        Subscription(**{"agent": "a", "pattern": "a", **fields})


def test_a_bad_replay_and_an_unknown_message_are_named_errors(start: Start) -> None:
    system = start()
    with pytest.raises(AgentFailedError, match="whole segment"):
        system.ask("bus", Replay("a*"))
    with pytest.raises(AgentFailedError, match="limit must be"):
        system.ask("bus", Replay(limit=0))
    with pytest.raises(AgentFailedError, match="knows no control message str"):
        system.ask("bus", "what?")


def test_a_stopped_bus_takes_nothing(start: Start) -> None:
    system = start()
    system.stop()
    with pytest.raises(Exception, match=r"gone|closed|stopped") as caught:
        system.ask("bus", Publish(signal()), timeout_s=1)
    assert not isinstance(caught.value, AgentStoppedError)


def test_a_queue_sends_by_sequence_and_holds_failures_until_they_are_due() -> None:
    wanted = Subscription(agent="a", pattern="**", max_in_flight=2, max_attempts=3, retry=STEADY)
    waiting = DeliveryQueue(wanted, random.Random(0))
    for sequence in (2, 1, 3):
        waiting.add(Delivery(sequence, signal(sequence)), 0.0)
    first, second = waiting.take(0.0)
    assert (first.sequence, second.sequence) == (1, 2)
    again = waiting.retried(first, 0.0)
    assert again == Delivery(1, signal(1), 1, 10.0)
    waiting.fail(first, again, "boom", 0.0)
    assert [d.sequence for d in waiting.take(0.0)] == [3]
    waiting.acknowledge(second)
    assert (waiting.next_due(), waiting.take(9.9), len(waiting)) == (10.0, [], 2)
    (third,) = waiting.take(10.0)
    assert waiting.retried(waiting.retried(third, 10.0), 30.0) is None
