"""The way of a host's tells to one agent: what may overtake nothing, and whom a place is given to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from dspex_agents import ManualClock
from dspex_agents.errors import DeadlineExceededError, OutcomeUnknownError, UnknownAgentError
from dspex_agents.messaging.dead_letters import DeadLetter
from dspex_agents.messaging.lane import WINDOW, Lane
from dspex_agents.messaging.message import BEGUN, Answer, Envelope, Reply
from dspex_agents.runtime.port import PortUnavailableError, Route


class Far:
    """A link that keeps what it is given, until the test answers it."""

    def __init__(self) -> None:
        self.sent: list[tuple[Envelope, Answer]] = []

    def send(self, envelope: Envelope, answer: Answer) -> None:
        self.sent.append((envelope, answer))

    def answer(self, reply: Callable[[Envelope], Reply]) -> None:
        sent, self.sent = self.sent, []
        for envelope, answer in sent:
            answer(envelope, reply(envelope))

    @property
    def bodies(self) -> list[Any]:
        return [envelope.body for envelope, _ in self.sent]


class Mail:
    """A host's mail: routes come when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock(100.0)
        self.here: dict[str, Any] = {}
        self.routes: dict[str, Route] = {}
        self.redriven: Mapping[str, DeadLetter] = {}
        self.far = Far()
        self.found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.asked: list[int | None] = []
        self.failed: list[tuple[Any, str]] = []
        self.count = 0

    def link_to(self, _port: Any) -> Any:
        return self.far

    async def resolve(self, to: str, _timeout_s: float, gone_epoch: int | None) -> Route:
        self.asked.append(gone_epoch)
        epoch = await self.found
        self.found = asyncio.get_running_loop().create_future()
        self.routes[to] = Route(None, epoch)  # type: ignore[arg-type] # nobody looks at the port here
        return self.routes[to]

    def settled(self, envelope: Envelope, failure: str | None) -> None:
        if failure is not None:
            self.failed.append((envelope.body, failure))

    def envelope(self, body: Any, **fields: Any) -> Envelope:
        self.count += 1
        return Envelope("a", body, f"m.{self.count}", told=True, **fields)


def run(scenario: Callable[[Mail, Lane], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        mail = Mail()
        async with asyncio.timeout(10):
            await scenario(mail, Lane("a", mail))

    asyncio.run(limited())


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def stale(envelope: Envelope) -> Reply:
    return Reply(envelope.id, stale=True)


def begun(_: Envelope) -> Reply:
    return BEGUN


def test_nothing_overtakes_what_waits_for_the_agent_to_be_found() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        lane.push(mail.envelope(1))
        await turns()
        mail.routes["a"] = Route(None, 7)  # another message has found it meanwhile
        lane.push(mail.envelope(2))
        assert mail.far.bodies == []
        mail.found.set_result(7)
        await turns()
        lane.push(mail.envelope(3))
        assert mail.far.bodies == [1, 2, 3]
        assert [envelope.epoch for envelope, _ in mail.far.sent] == [7, 7, 7]

    run(scenario)


def test_what_comes_back_from_a_former_incarnation_goes_out_again_before_what_is_new_and_in_order() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        mail.routes["a"] = Route(None, 7)
        for body in (1, 2, 3):
            lane.push(mail.envelope(body))
        first, second, third = mail.far.sent
        mail.far.sent = []
        second[1](second[0], stale(second[0]))
        lane.push(mail.envelope(4))
        await turns()
        assert (mail.far.bodies, mail.asked) == ([], [])  # the others are not back yet
        third[1](third[0], stale(third[0]))
        first[1](first[0], stale(first[0]))
        await turns()
        assert mail.asked == [7]
        mail.found.set_result(8)
        await turns()
        assert mail.far.bodies == [1, 2, 3, 4]
        mail.far.answer(begun)
        assert lane.is_idle
        assert lane.places == WINDOW
        assert mail.failed == []

    run(scenario)


def test_what_was_in_flight_at_a_death_fails_and_is_not_sent_again() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        mail.routes["a"] = Route(None, 7)
        lane.push(mail.envelope(1))
        mail.far.answer(lambda e: Reply(e.id, error=OutcomeUnknownError("died"), stale=True))
        assert mail.failed == [(1, "died")]
        lane.push(mail.envelope(2))
        await turns()
        assert mail.asked == [7]  # the incarnation that died is known to be gone
        mail.found.set_result(8)
        await turns()
        assert mail.far.bodies == [2]

    run(scenario)


def test_an_unknown_agent_fails_everything_that_waits_for_it() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        lane.push(mail.envelope(1))
        lane.push(mail.envelope(2))
        await turns()
        mail.found.set_exception(UnknownAgentError("nobody"))
        await turns()
        assert mail.failed == [(1, "nobody"), (2, "nobody")]
        assert lane.is_idle

    run(scenario)


def test_while_the_root_is_away_only_what_is_overdue_fails() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        lane.push(mail.envelope("hasty", deadline_at=101.0))
        lane.push(mail.envelope("patient"))
        await turns()
        mail.clock.advance(2)
        mail.found.set_exception(PortUnavailableError("restarting"))
        mail.found = asyncio.get_running_loop().create_future()
        await turns()
        assert mail.failed == [("hasty", "Agent 'a' was not found in time.")]
        mail.clock.advance(40)
        mail.found.set_exception(TimeoutError())
        await turns()
        assert [body for body, _ in mail.failed] == ["hasty", "patient"]
        assert lane.is_idle

    run(scenario)


def test_senders_get_their_places_in_the_order_in_which_they_came() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        mail.routes["a"] = Route(None, 7)
        for n in range(WINDOW):
            lane.push(mail.envelope(n))
        assert lane.places == 0
        order: list[int] = []

        async def sender(number: int) -> None:
            assert await lane.turn(5.0)
            order.append(number)
            lane.push(mail.envelope(f"sender {number}"))

        senders = [asyncio.create_task(sender(n)) for n in range(3)]
        await turns()
        senders[1].cancel()
        await turns()
        mail.far.answer(begun)
        await asyncio.wait(senders)
        assert order == [0, 2]
        assert mail.far.bodies == ["sender 0", "sender 2"]

    run(scenario)


def test_a_sender_that_is_cancelled_when_its_turn_has_come_hands_it_on() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        mail.routes["a"] = Route(None, 7)
        for n in range(WINDOW):
            lane.push(mail.envelope(n))
        first, second = (asyncio.create_task(lane.turn(5.0)) for _ in range(2))
        await turns()
        lane._wake()
        first.cancel()
        lane.places = 1
        assert await second
        assert first.cancelled()

    run(scenario)


def test_a_sender_waits_for_a_place_no_longer_than_it_may() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        mail.routes["a"] = Route(None, 7)
        for n in range(WINDOW):
            lane.push(mail.envelope(n))
        assert not await lane.turn(0.01)
        mail.far.answer(lambda e: Reply(e.id, error=DeadlineExceededError("late")))
        assert lane.places == WINDOW
        assert len(mail.failed) == WINDOW

    run(scenario)


def test_a_delayed_message_takes_no_place() -> None:
    async def scenario(mail: Mail, lane: Lane) -> None:
        mail.routes["a"] = Route(None, 7)
        lane.push(mail.envelope(1, not_before=200.0))
        assert (lane.places, lane.is_idle) == (WINDOW, False)
        mail.far.answer(begun)
        assert (lane.places, lane.is_idle) == (WINDOW, True)

    run(scenario)
