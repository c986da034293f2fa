"""The link between two hosts and the deliveries at its far end: batches, order, answers, and every way it can break."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dspex_agents import Agent, ManualClock, SystemClock
from dspex_agents.errors import AgentFailedError, DeadlineExceededError, OutcomeUnknownError
from dspex_agents.messaging.link import Link
from dspex_agents.messaging.message import BEGUN, Envelope, Reply
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.runtime.deliveries import Deliveries
from dspex_agents.runtime.port import PortDiedError
from dspex_agents.testing import LoneHost

WITHIN_S = 10.0


class Keeper(Agent):
    """Keeps what it gets; waits over "wait" until the gate opens."""

    concurrency = 1

    def __init__(self, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self.gate, self.kept = asyncio.Event(), []

    async def on_message(self, body: Any) -> Any:
        self.kept.append(body)
        if body == "wait":
            await self.gate.wait()
        return body


class Wire:
    """A port to a host in this process, with a wire that pickles, counts, and can be cut or blocked."""

    address = "far"

    def __init__(self, deliveries: Deliveries) -> None:
        self.deliveries, self.calls = deliveries, Counter[str]()
        self.cut = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        self.calls[method] += 1
        sent = pickle.loads(pickle.dumps(args))
        work = asyncio.create_task(self._answer(method, sent))
        death = asyncio.create_task(self.cut.wait())
        await asyncio.wait((work, death), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if self.cut.is_set():
            work.cancel()
            raise PortDiedError("far")
        if not work.done():
            raise TimeoutError
        return work.result()

    async def _answer(self, method: str, args: Any) -> Any:
        await self.open.wait()
        return pickle.loads(pickle.dumps(await getattr(self.deliveries, method)(*args)))

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        raise NotImplementedError

    def kill(self) -> None:
        self.cut.set()


class Rig:
    def __init__(self) -> None:
        self.clock = SystemClock()
        self.agents = {"a": Keeper(), "slow": Keeper()}
        self.cells = {
            name: AgentCell(agent, LoneHost(self.clock).context(name, 1), lambda _reason: None)
            for name, agent in self.agents.items()
        }
        self.deliveries = Deliveries(self.cells, self.clock, lambda _envelope, _reply: None)
        self.wire = Wire(self.deliveries)
        self.link = Link(self.wire, "link-1", self.clock)
        self.answers: list[tuple[Any, Reply]] = []
        self.count = 0

    def envelope(self, body: Any, to: str = "a", **fields: Any) -> Envelope:
        self.count += 1
        return Envelope(to, body, f"m.{self.count}", 1, **fields)

    def tell(self, body: Any, to: str = "a", **fields: Any) -> None:
        envelope = self.envelope(body, to, told=True, **fields)
        self.link.send(envelope, lambda e, reply: self.answers.append((e.body, reply)))

    def asking(self, body: Any, to: str = "a", **fields: Any) -> asyncio.Task[Reply]:
        return asyncio.create_task(self.link.ask(self.envelope(body, to, **fields), WITHIN_S))

    async def busy(self) -> list[asyncio.Task[Reply]]:
        """Keep the few calls that go alone occupied, so that the next messages go in batches."""
        asked = [self.asking("wait", "slow") for _ in range(2)]
        await until(lambda: self.wire.calls["deliver"] == 2 and self.agents["slow"].kept == ["wait"])
        return asked


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(WITHIN_S):
            await scenario()

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - bounded by the scenario's timeout
        await asyncio.sleep(0)


def test_a_lone_question_goes_by_one_call() -> None:
    async def scenario() -> None:
        rig = Rig()
        assert [(await rig.asking(n)).value for n in range(3)] == [0, 1, 2]
        assert rig.wire.calls == {"deliver": 3}

    run(scenario)


def test_many_messages_go_by_few_calls_and_in_order() -> None:
    async def scenario() -> None:
        rig = Rig()
        for n in range(900):
            rig.tell(n)
        await until(lambda: len(rig.answers) == 900)
        assert rig.agents["a"].kept == list(range(900))
        assert all(reply == BEGUN for _, reply in rig.answers)
        assert rig.wire.calls["accept"] <= 3
        assert rig.wire.calls["replies"] <= 10

    run(scenario)


def test_questions_under_load_are_answered_each_with_its_own() -> None:
    async def scenario() -> None:
        rig = Rig()
        replies = await asyncio.gather(*(rig.asking(n) for n in range(300)))
        assert [reply.value for reply in replies] == list(range(300))
        assert sum(rig.wire.calls.values()) < 30

    run(scenario)


def test_a_question_does_not_overtake_what_was_told_before() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.tell(1)
        rig.tell(2)
        await rig.asking(3)
        assert rig.agents["a"].kept == [1, 2, 3]

    run(scenario)


def test_a_slow_agent_does_not_delay_the_answers_of_its_host_mates() -> None:
    async def scenario() -> None:
        rig = Rig()
        slow = await rig.busy()
        batched = [rig.asking("wait", "slow") for _ in range(20)]
        assert [(await rig.asking(n)).value for n in range(50)] == list(range(50))
        assert not any(asked.done() for asked in (*slow, *batched))
        rig.agents["slow"].gate.set()
        assert [(await asked).value for asked in (*slow, *batched)] == ["wait"] * 22

    run(scenario)


def test_no_call_is_kept_pending_once_everything_is_answered() -> None:
    async def scenario() -> None:
        rig = Rig()
        slow = await rig.busy()
        assert (await rig.asking(1)).value == 1
        rig.agents["slow"].gate.set()
        await asyncio.gather(*slow)
        before = rig.wire.calls.copy()
        await asyncio.sleep(0.05)
        assert rig.wire.calls == before

    run(scenario)


def test_the_death_of_the_other_process_answers_everything_that_was_sent_as_unknown() -> None:
    async def scenario() -> None:
        rig = Rig()
        alone = await rig.busy()
        asked = [rig.asking("wait", "slow") for _ in range(5)]
        await until(lambda: rig.cells["slow"].mailbox.count == 6)
        rig.tell("told", "slow")
        await until(lambda: rig.cells["slow"].mailbox.count == 7)
        rig.wire.kill()
        for lone in alone:
            with pytest.raises(PortDiedError):
                await lone
        for reply in await asyncio.gather(*asked):
            assert reply.stale
            assert isinstance(reply.error, OutcomeUnknownError)
        ((_, told),) = rig.answers
        assert isinstance(told.error, OutcomeUnknownError)
        assert rig.link.is_lost

    run(scenario)


def test_what_was_not_sent_when_the_process_died_may_go_elsewhere() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.wire.open.clear()
        rig.tell("sent")
        await until(lambda: rig.wire.calls["accept"] == 1)
        rig.tell("not sent")
        rig.wire.kill()
        await until(lambda: len(rig.answers) == 2)
        outcome = {body: (reply.stale, reply.error is None) for body, reply in rig.answers}
        assert outcome == {"sent": (True, False), "not sent": (True, True)}
        rig.tell("afterwards")
        assert rig.answers[-1] == ("afterwards", Reply("m.3", stale=True))

    run(scenario)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("a socket stays where it is")


def test_one_message_that_cannot_travel_holds_up_no_other() -> None:
    async def scenario() -> None:
        rig = Rig()
        for body in (1, Unpicklable(), 3):
            rig.tell(body)
        await until(lambda: len(rig.answers) == 3)
        assert rig.agents["a"].kept == [1, 3]
        (bad,) = [reply for _, reply in rig.answers if reply != BEGUN]
        assert isinstance(bad.error, AgentFailedError)
        assert "cannot travel: TypeError: a socket stays" in str(bad.error)

    run(scenario)


def test_an_answer_that_does_not_come_is_given_up_after_its_deadline_and_dropped_when_it_comes_late() -> None:
    async def scenario() -> None:
        rig = Rig()
        await rig.busy()
        rig.wire.open.clear()
        asked = rig.asking("lost", deadline_at=rig.clock.now() - 0.4)
        reply = await asked
        assert isinstance(reply.error, DeadlineExceededError)
        rig.wire.open.set()
        await until(lambda: rig.link.late == 1)
        rig.agents["slow"].gate.set()

    run(scenario)


def test_an_agent_that_is_not_there_is_answered_as_stale() -> None:
    async def scenario() -> None:
        rig = Rig()
        assert (await rig.asking(1, "nobody")).stale
        rig.tell(1, "nobody")
        await until(lambda: len(rig.answers) == 1)
        assert rig.answers[0][1].stale

    run(scenario)


def test_whoever_floods_a_link_waits_for_room() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.wire.open.clear()
        for n in range(10_000):
            rig.tell(n)
        assert rig.link.is_full
        waiting = asyncio.create_task(rig.link.has_room())
        await until(lambda: rig.wire.calls["accept"] == 1)
        assert not waiting.done()
        rig.wire.open.set()
        await waiting
        assert not rig.link.is_full

    run(scenario)


def test_replies_that_nobody_fetches_are_dropped_after_a_minute() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        cell = AgentCell(agent := Keeper(), LoneHost(clock).context("a", 1), lambda _reason: None)
        deliveries = Deliveries({"a": cell}, clock, lambda _envelope, _reply: None)
        await deliveries.accept("gone", (tuple(Envelope("a", "wait", "m.1", 1)),))
        clock.advance(30)
        await deliveries.accept("alive", ())
        agent.gate.set()
        clock.advance(31)
        deliveries._drop_abandoned()
        assert set(deliveries._boxes) == {"alive"}
        polling = asyncio.create_task(deliveries.replies("alive"))
        await asyncio.sleep(0)
        clock.advance(61)
        deliveries._drop_abandoned()
        assert set(deliveries._boxes) == {"alive"}  # somebody waits at it
        polling.cancel()

    run(scenario)


def test_a_host_that_ends_lets_its_answers_leave_first() -> None:
    async def scenario() -> None:
        rig = Rig()
        slow = await rig.busy()
        batched = rig.asking("wait", "slow")
        await until(lambda: rig.cells["slow"].mailbox.count == 2)
        await rig.cells["slow"].stop("shutdown")
        await rig.deliveries.emptied(5.0)
        replies = await asyncio.gather(*slow, batched)
        assert all("shutdown" in str(reply.error) or "cancelled" in str(reply.error) for reply in replies)

    run(scenario)


def test_a_closed_link_fetches_and_answers_no_more() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.tell("wait", "slow")
        rig.tell("never begun", "slow")
        await until(lambda: rig.wire.calls["replies"] == 1)
        rig.link.close()
        await until(lambda: rig.link._poll is None and rig.link._flight is None)
        rig.agents["slow"].gate.set()
        await until(lambda: rig.agents["slow"].kept == ["wait", "never begun"])
        assert [body for body, _ in rig.answers] == ["wait"]

    run(scenario)
