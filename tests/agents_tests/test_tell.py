"""Messages without an answer: order, back-pressure, dead letters, another try, and what a restart does to them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from runtime_contract import spec_of

from dspex_agents import Agent, AgentExit, ChildSpec, Priority, System, start_local_system
from dspex_agents.errors import AgentStoppedError, MailboxFullError, UnknownAgentError
from dspex_agents.messaging.dead_letters import DeadLetterFilter
from dspex_agents.messaging.lane import WINDOW

WITHIN_S = 15.0
kept: defaultdict[str, list[Any]] = defaultdict(list)
"""What each agent got, over all its incarnations: the runtime is in this process."""


class Keeper(Agent):
    """Keeps what it gets. Waits over "wait", fails over "boom", ends over "exit"."""

    def __init__(self, mailbox_size: int = 1000, overflow: Any = "reject", concurrency: int = 1) -> None:
        self.mailbox_size, self.overflow, self.concurrency = mailbox_size, overflow, concurrency
        self.gate = asyncio.Event()

    async def on_message(self, body: Any) -> Any:
        kept[self.context.name].append(body)
        match body:
            case "wait":
                await self.gate.wait()
            case "boom":
                raise ValueError("boom")
            case "exit":
                raise AgentExit("on request")
        return body

    async def on_control(self, body: Any) -> Any:
        self.gate.set()


class Teller(Agent):
    """Tells what it is told to: (to, bodies, options), and answers when all are sent."""

    concurrency = 100

    async def on_message(self, body: Any) -> Any:
        to, bodies, options = body
        for item in bodies:
            await self.context.tell(to, item, **options)
        return len(bodies)


@pytest.fixture
def start() -> Iterator[Callable[..., System]]:
    kept.clear()
    with contextlib.ExitStack() as stack:

        def begin(*specs: ChildSpec, **supervisor: Any) -> System:
            sender = ChildSpec(id="teller", start=Teller)
            return stack.enter_context(start_local_system(spec_of(sender, *specs, **supervisor)))

        yield begin


def keeper(id_: str = "keeper", host: str = "elsewhere", **fields: Any) -> ChildSpec:
    kwargs = {k: fields.pop(k) for k in ("mailbox_size", "overflow", "concurrency") if k in fields}
    return ChildSpec(id=id_, start=Keeper, kwargs=kwargs, host=host, **fields)


def tell(system: System, to: str, *bodies: Any, **options: Any) -> None:
    assert system.ask("teller", (to, bodies, options), timeout_s=WITHIN_S) == len(bodies)


def telling(system: System, to: str, *bodies: Any) -> threading.Thread:
    thread = threading.Thread(target=tell, args=(system, to, *bodies))
    thread.start()
    return thread


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.001)


def letters(system: System, count: int) -> list[Any]:
    """Wait for so many dead letters and return their messages and the starts of their reasons."""
    until(lambda: len(system.dead_letters()) >= count)
    return [(letter.message, letter.reason) for letter in system.dead_letters()]


@pytest.mark.parametrize("host", ["shared", "elsewhere"])
def test_what_one_agent_tells_another_arrives_in_order_and_nothing_is_lost(start: Any, host: str) -> None:
    system = start(keeper(host=host))
    tell(system, "keeper", *range(5000))
    until(lambda: len(kept["keeper"]) == 5000)
    assert kept["keeper"] == list(range(5000))
    assert system.dead_letters() == ()


@pytest.mark.parametrize("host", ["shared", "elsewhere"])
def test_a_stream_to_a_slow_agent_makes_the_sender_wait_instead_of_losing_messages(start: Any, host: str) -> None:
    system = start(keeper(host=host))
    sender = telling(system, "keeper", "wait", *range(3000))
    until(lambda: system.status("keeper").mailbox >= WINDOW - 1)
    assert system.status("keeper").mailbox <= WINDOW
    assert sender.is_alive()
    system.ask("keeper", "open", control=True)
    sender.join(WITHIN_S)
    until(lambda: len(kept["keeper"]) == 3001)
    assert kept["keeper"] == ["wait", *range(3000)]


def test_an_agents_error_over_a_told_message_is_counted_and_is_no_dead_letter(start: Any) -> None:
    system = start(keeper())
    tell(system, "keeper", "boom", 1)
    until(lambda: kept["keeper"] == ["boom", 1])
    assert system.status("keeper").failed == 1
    assert system.dead_letters() == ()


def test_what_is_told_to_nobody_is_a_dead_letter_with_near_matches(start: Any) -> None:
    system = start(keeper())
    tell(system, "keeqer", 1)
    ((message, reason),) = letters(system, 1)
    assert message == 1
    assert "Did you mean 'keeper'" in reason


@pytest.mark.parametrize("host", ["shared", "elsewhere"])
def test_what_a_full_mailbox_refuses_is_a_dead_letter(start: Any, host: str) -> None:
    system = start(keeper(host=host, mailbox_size=1))
    tell(system, "keeper", "wait")
    until(lambda: system.status("keeper").in_flight == 1)
    tell(system, "keeper", "kept")
    until(lambda: system.status("keeper").mailbox == 1)
    tell(system, "keeper", "lost", priority=Priority.HIGH)
    ((message, reason),) = letters(system, 1)
    assert message == "lost"
    assert "is full (1 messages wait)" in reason
    (letter,) = system.dead_letters()
    assert (letter.recipient, letter.sender, letter.priority, letter.attempts) == ("keeper", "teller", 0, 1)
    system.ask("keeper", "open", control=True)
    until(lambda: kept["keeper"] == ["wait", "kept"])


def test_a_dead_letter_goes_out_again_and_comes_back_under_its_id_when_it_fails_again(start: Any) -> None:
    system = start(keeper(mailbox_size=1))
    tell(system, "keeper", "wait")
    until(lambda: system.status("keeper").in_flight == 1)
    tell(system, "keeper", "kept", "late")
    letters(system, 1)
    (first,) = system.dead_letters()
    assert system.redrive() == 1
    until(lambda: [letter.attempts for letter in system.dead_letters()] == [2])
    (second,) = system.dead_letters()
    assert (second.id, second.first_failure_at) == (first.id, first.first_failure_at)
    system.ask("keeper", "open", control=True)
    until(lambda: kept["keeper"] == ["wait", "kept"])
    assert system.redrive(DeadLetterFilter(recipient="nobody")) == 0
    assert system.redrive(DeadLetterFilter(recipient="keeper")) == 1
    until(lambda: kept["keeper"] == ["wait", "kept", "late"])
    assert system.dead_letters() == ()


def test_dead_letters_can_be_thrown_away(start: Any) -> None:
    system = start(keeper())
    tell(system, "nobody", 1, 2, 3)
    assert len(letters(system, 3)) == 3
    assert system.purge(DeadLetterFilter(ids=frozenset({system.dead_letters()[0].id}))) == 1
    assert [letter.message for letter in system.dead_letters()] == [2, 3]
    assert system.purge() == 2


@pytest.mark.parametrize("host", ["shared", "elsewhere"])
def test_what_is_not_begun_within_its_time_is_a_dead_letter(start: Any, host: str) -> None:
    system = start(keeper(host=host))
    tell(system, "keeper", "wait")
    tell(system, "keeper", "late", timeout_s=0.1)
    ((message, reason),) = letters(system, 1)
    assert message == "late"
    assert "did not come to it in time" in reason
    system.ask("keeper", "open", control=True)
    until(lambda: system.status("keeper").handled == 1)
    assert kept["keeper"] == ["wait"]


@pytest.mark.parametrize("host", ["shared", "elsewhere"])
def test_a_delayed_message_comes_later_and_keeps_no_place_on_the_way(start: Any, host: str) -> None:
    system = start(keeper(host=host))
    tell(system, "keeper", *range(600), delay_s=0.5)
    tell(system, "keeper", "now")
    until(lambda: bool(kept["keeper"]))
    assert kept["keeper"] == ["now"]
    until(lambda: len(kept["keeper"]) == 601)
    assert kept["keeper"][1:] == list(range(600))


@pytest.mark.parametrize("host", ["shared", "elsewhere"])
def test_what_waits_in_the_mailbox_of_an_agent_that_ends_is_a_dead_letter(start: Any, host: str) -> None:
    system = start(keeper(host=host))
    tell(system, "keeper", "wait", "exit", 1, 2)
    until(lambda: system.status("keeper").mailbox == 3)
    system.ask("keeper", "open", control=True)
    found = letters(system, 2)
    assert [message for message, _ in found] == [1, 2]
    assert all("before handling it" in reason for _, reason in found)


@pytest.mark.parametrize("host", ["shared", "elsewhere"])
def test_what_is_told_while_the_agent_is_being_restarted_reaches_the_next_one_in_order(start: Any, host: str) -> None:
    system = start(keeper(host=host, restart="permanent"), intensity=100)
    for n in range(5):
        tell(system, "keeper", "exit")
        tell(system, "keeper", *range(n * 100, n * 100 + 100))
        until(lambda n=n: len(kept["keeper"]) + len(system.dead_letters()) == (n + 1) * 101)
    numbers = [body for body in kept["keeper"] if body != "exit"]
    assert numbers == sorted(numbers)
    assert set(numbers).isdisjoint({letter.message for letter in system.dead_letters()})


def test_what_was_on_its_way_to_a_process_that_dies_is_never_lost_in_silence(start: Any) -> None:
    system = start(keeper(isolation="own"), spare_hosts=1)
    sender = telling(system, "keeper", "wait", *range(2000))
    until(lambda: system.status("keeper").mailbox > 100)
    system._root._target._placement.route("keeper").port.kill()
    sender.join(WITHIN_S)
    until(lambda: len(kept["keeper"]) + len(system.dead_letters()) >= 2001)
    begun, dead = kept["keeper"], [letter.message for letter in system.dead_letters()]
    assert sorted({*begun[1:], *dead}) == list(range(2000))
    assert begun[1:] == sorted(begun[1:])
    assert any("died with the message in flight" in letter.reason for letter in system.dead_letters())


def test_a_question_that_a_mailbox_turns_away_as_a_dead_letter_is_kept_and_can_be_told_again(start: Any) -> None:
    system = start(keeper(mailbox_size=1, overflow="dead_letter"))
    tell(system, "keeper", "wait")
    until(lambda: system.status("keeper").in_flight == 1)
    tell(system, "keeper", 1)
    until(lambda: system.status("keeper").mailbox == 1)
    with pytest.raises(MailboxFullError, match="kept as a dead letter"):
        system.ask("keeper", "question")
    assert [message for message, _ in letters(system, 1)] == ["question"]
    system.ask("keeper", "open", control=True)
    until(lambda: kept["keeper"] == ["wait", 1])
    assert system.redrive() == 1
    until(lambda: kept["keeper"] == ["wait", 1, "question"])


def test_with_block_tells_wait_for_room_and_arrive(start: Any) -> None:
    system = start(keeper(mailbox_size=300, overflow="block"))
    sender = telling(system, "keeper", "wait", *range(1000))
    until(lambda: system.status("keeper").mailbox == 300)
    system.ask("keeper", "open", control=True)
    sender.join(WITHIN_S)
    until(lambda: len(kept["keeper"]) == 1001)
    assert kept["keeper"] == ["wait", *range(1000)]


def test_telling_from_outside_returns_when_the_message_waits_and_raises_when_it_cannot(start: Any) -> None:
    system = start(keeper(mailbox_size=1))
    system.tell("keeper", "wait")
    until(lambda: system.status("keeper").in_flight == 1)
    asyncio.run(system.atell("keeper", "late", timeout_s=0.2))
    with pytest.raises(MailboxFullError):
        system.tell("keeper", "refused")
    with pytest.raises(UnknownAgentError):
        system.tell("nobody", 1)
    assert [message for message, _ in letters(system, 1)] == ["late"]
    system.ask("keeper", "open", control=True)
    system.tell("keeper", "patient")
    until(lambda: kept["keeper"] == ["wait", "patient"])


def test_a_sender_whom_every_message_fails_does_not_keep_the_loop_to_itself(start: Any) -> None:
    class Stubborn(Agent):
        async def on_message(self, body: Any) -> None:
            while True:
                await self.context.tell("keeper", 1)

    system = start(keeper(host="shared", mailbox_size=1), ChildSpec(id="stubborn", start=Stubborn))
    system.tell("keeper", "wait")
    system.tell("stubborn", "go")
    until(lambda: system.status("keeper", timeout_s=WITHIN_S).rejected > 100)


def test_an_asker_who_is_refused_each_time_does_not_keep_the_loop_to_itself(start: Any) -> None:
    class Stubborn(Agent):
        async def on_message(self, body: Any) -> None:
            while True:
                with contextlib.suppress(MailboxFullError):
                    await self.context.ask("keeper", 1)

    system = start(keeper(host="shared", mailbox_size=1), ChildSpec(id="stubborn", start=Stubborn))
    system.tell("keeper", "wait")
    system.tell("keeper", "full")
    system.tell("stubborn", "go")
    until(lambda: system.status("keeper", timeout_s=WITHIN_S).rejected > 100)


def test_an_asker_within_the_same_host_is_answered_without_the_root(start: Any) -> None:
    class Asker(Agent):
        async def on_message(self, body: Any) -> Any:
            return await self.context.ask("keeper", body)

    system = start(keeper(host="shared"), ChildSpec(id="asker", start=Asker))
    assert system.ask("asker", body := ["the very same list"]) == body
    assert kept["keeper"][0] is body
    route = system._root._target._placement.route("asker")
    assert "keeper" not in route.port._target._post_office.routes


def test_a_stopped_system_turns_away_what_waits(start: Any) -> None:
    system = start(keeper())
    system.tell("keeper", "wait")
    until(lambda: system.status("keeper").in_flight == 1)
    asked: list[BaseException] = []

    def ask() -> None:
        try:
            system.ask("keeper", 1, timeout_s=WITHIN_S)
        except AgentStoppedError as error:
            asked.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    until(lambda: system.status("keeper").mailbox == 1)
    system.stop()
    asker.join(WITHIN_S)
    assert "before handling it" in str(asked[0])
