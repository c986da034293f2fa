"""One agent's cell: turns, priorities, deadlines, delays, overflow, cancellation, keys, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dspex_agents import Agent, AgentExit, ManualClock, Priority, SystemClock
from dspex_agents.errors import (
    AgentFailedError,
    AgentStoppedError,
    DeadlineExceededError,
    MailboxFullError,
    MessageError,
    OutcomeUnknownError,
)
from dspex_agents.messaging.in_hand import in_hand
from dspex_agents.messaging.message import (
    BEGUN,
    Cancel,
    Envelope,
    GetMailbox,
    GetStatus,
    Pause,
    Reply,
    Resume,
)
from dspex_agents.roles.progress import ProgressBoard, report_progress
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.testing import LoneHost

WITHIN_S = 10.0


class Gated(Agent):
    """Notes what it begins with and ends with; waits for the gate over bodies that are "wait"."""

    def __init__(self, **settings: Any) -> None:
        for name, value in settings.items():
            setattr(self, name, value)
        self.gate = asyncio.Event()
        self.begun: list[Any] = []
        self.ended: list[Any] = []
        self.stops: list[str] = []

    async def on_message(self, body: Any) -> Any:
        self.begun.append(body)
        if callable(body):
            return await body()
        if body == "wait":
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.ended.append("cancelled")
                raise
        self.ended.append(body)
        return body

    async def on_control(self, body: Any) -> Any:
        return ("control", body)

    async def on_stop(self, reason: str) -> None:
        self.stops.append(reason)


class Rig:
    """A cell with its agent, and a shorthand to post to it."""

    def __init__(self, agent: Gated | None = None, clock: ManualClock | SystemClock | None = None) -> None:
        self.agent = agent or Gated()
        self.clock = clock or SystemClock()
        self.exits: list[str] = []
        self.letters: list[tuple[Any, str]] = []
        self.told: list[Reply] = []
        self.count = 0
        self.cell = AgentCell(
            self.agent,
            LoneHost(self.clock).context("a", 7),
            self.exits.append,
            shutdown_s=1.0,
            on_dead_letter=lambda envelope, reason: self.letters.append((envelope.body, reason)),
        )

    def envelope(self, body: Any, **fields: Any) -> Envelope:
        self.count += 1
        return Envelope("a", body, fields.pop("id", f"m{self.count}"), **fields)

    async def ask(self, body: Any, **fields: Any) -> Any:
        reply = await self.cell.post(self.envelope(body, **fields))
        if reply.error is not None:
            raise reply.error
        assert not reply.stale
        return reply.value

    def asking(self, body: Any, **fields: Any) -> asyncio.Task[Any]:
        return asyncio.create_task(self.ask(body, **fields))

    def tell(self, body: Any, **fields: Any) -> None:
        self.cell.take(self.envelope(body, told=True, **fields), lambda _, reply: self.told.append(reply))

    async def control(self, body: Any) -> Any:
        return await self.ask(body, control=True)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(WITHIN_S):
            await scenario()

    asyncio.run(limited())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - bounded by the scenario's timeout
        await asyncio.sleep(0)


async def error_of(asked: asyncio.Task[Any]) -> MessageError:
    with pytest.raises(MessageError) as caught:
        await asked
    return caught.value


def test_messages_are_handled_in_order_of_priority_and_arrival() -> None:
    async def scenario() -> None:
        rig = Rig()
        first = rig.asking("wait")
        await until(lambda: rig.agent.begun == ["wait"])
        rest = [rig.asking(n, priority=p) for n, p in ((1, 2), (2, 1), (3, 0), (4, 1))]
        await asyncio.sleep(0)
        rig.agent.gate.set()
        assert await asyncio.gather(first, *rest) == ["wait", 1, 2, 3, 4]
        assert rig.agent.begun == ["wait", 3, 2, 4, 1]

    run(scenario)


def test_so_many_messages_are_in_hand_at_once_as_the_agent_allows() -> None:
    async def scenario() -> None:
        rig = Rig(Gated(concurrency=3))
        asked = [rig.asking("wait") for _ in range(5)]
        await until(lambda: len(rig.agent.begun) == 3)
        for _ in range(5):
            await asyncio.sleep(0)
        status = rig.cell.status()
        assert (status.in_flight, status.mailbox, status.concurrency, rig.cell.load) == (3, 2, 3, 5 / 3)
        rig.agent.gate.set()
        await asyncio.gather(*asked)
        assert rig.cell.status().handled == 5

    run(scenario)


@pytest.mark.parametrize("concurrency", [1, 3, 1000])
def test_messages_are_begun_in_order_however_many_are_in_hand_at_once(concurrency: int) -> None:
    async def scenario() -> None:
        rig = Rig(Gated(concurrency=concurrency))
        for n in range(900):
            rig.tell(n)
            if n % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(rig.agent.begun) == 900)
        assert rig.agent.begun == list(range(900))
        await until(lambda: (rig.cell.status().in_flight, rig.cell._slots) == (0, 0))  # begun, the last is not ended

    run(scenario)


def test_an_agent_that_never_waits_gives_its_host_mates_their_turn() -> None:
    async def scenario() -> None:
        busy, mate = Rig(), Rig()
        for n in range(1000):
            busy.tell(n)
        await mate.ask(1)
        assert len(busy.agent.ended) < 900

    run(scenario)


def test_a_message_past_its_deadline_is_answered_and_its_handling_cancelled() -> None:
    async def scenario() -> None:
        rig = Rig()
        running = rig.asking("wait", deadline_at=rig.clock.now() + 0.05)
        waiting = rig.asking(1, deadline_at=rig.clock.now() + 0.05)
        patient = rig.asking(2, deadline_at=rig.clock.now() + 60)
        assert "did not finish in time" in str(await error_of(running))
        assert isinstance(await error_of(waiting), DeadlineExceededError)
        assert await patient == 2
        assert rig.agent.ended == ["cancelled", 2]
        assert rig.cell.status().failed == 1

    run(scenario)


def test_a_message_that_waits_too_long_in_the_mailbox_is_never_handled() -> None:
    async def scenario() -> None:
        rig = Rig()
        running = rig.asking("wait")
        late = rig.asking("late", deadline_at=rig.clock.now() + 0.05)
        assert "did not come to it in time (0 messages wait)" in str(await error_of(late))
        rig.agent.gate.set()
        await running
        assert rig.agent.begun == ["wait"]

    run(scenario)


def test_an_agent_that_ignores_its_deadline_does_not_keep_the_asker_waiting() -> None:
    async def scenario() -> None:
        rig = Rig()

        async def stubborn() -> str:
            while not rig.agent.gate.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await rig.agent.gate.wait()
            return "late"

        asked = rig.asking(stubborn, deadline_at=rig.clock.now() + 0.05)
        assert isinstance(await error_of(asked), DeadlineExceededError)
        rig.agent.gate.set()
        assert await rig.ask("next") == "next"  # and the cancellation that it swallowed hits nobody else
        assert await rig.ask("wait") == "wait"

    run(scenario)


def test_a_delayed_message_waits_until_it_is_due_and_lets_others_pass() -> None:
    async def scenario() -> None:
        rig = Rig()
        delayed = rig.asking("delayed", not_before=rig.clock.now() + 0.1)
        await asyncio.sleep(0)
        assert await rig.ask("other") == "other"
        assert (rig.cell.status().mailbox, delayed.done()) == (1, False)
        assert await delayed == "delayed"
        assert rig.agent.begun == ["other", "delayed"]

    run(scenario)


def test_a_delayed_message_is_not_handled_early_by_the_clock_that_was_passed_in() -> None:
    async def scenario() -> None:
        clock = ManualClock(100.0)
        rig = Rig(clock=clock)
        delayed = rig.asking("delayed", not_before=100.05)
        await asyncio.sleep(0.1)
        assert rig.agent.begun == []
        clock.advance(0.05)
        assert await delayed == "delayed"

    run(scenario)


@pytest.mark.parametrize("overflow", ["reject", "dead_letter"])
def test_a_full_mailbox_refuses_and_says_so(overflow: str) -> None:
    async def scenario() -> None:
        rig = Rig(Gated(mailbox_size=1, overflow=overflow))
        kept = [rig.asking("wait"), rig.asking("kept")]
        await until(lambda: rig.cell.mailbox.count == 1)
        error = await error_of(rig.asking("lost"))
        assert isinstance(error, MailboxFullError)
        assert "is full (1 messages wait)" in str(error)
        assert ("dead letter" in str(error)) == bool(rig.letters) == (overflow == "dead_letter")
        assert [body for body, _ in rig.letters] == (["lost"] if overflow == "dead_letter" else [])
        rig.tell("told")
        assert isinstance(rig.told[0].error, MailboxFullError)  # its sender's host makes the dead letter
        assert rig.cell.status().rejected == 2
        rig.agent.gate.set()
        assert await asyncio.gather(*kept) == ["wait", "kept"]

    run(scenario)


def test_drop_oldest_answers_the_one_that_loses_its_place() -> None:
    async def scenario() -> None:
        rig = Rig(Gated(mailbox_size=1, overflow="drop_oldest"))
        running = rig.asking("wait")
        await until(lambda: rig.agent.begun == ["wait"])
        oldest, newest = rig.asking("oldest"), rig.asking("newest")
        assert isinstance(await error_of(oldest), MailboxFullError)
        rig.agent.gate.set()
        assert await asyncio.gather(running, newest) == ["wait", "newest"]

    run(scenario)


def test_with_block_a_newcomer_waits_for_room_until_its_deadline() -> None:
    async def scenario() -> None:
        rig = Rig(Gated(mailbox_size=1, overflow="block"))
        running, inside = rig.asking("wait"), rig.asking("inside")
        await until(lambda: rig.cell.mailbox.count == 1)
        hasty = rig.asking("hasty", deadline_at=rig.clock.now() + 0.05)
        await until(lambda: rig.cell.mailbox.outside == 1)
        refused = await error_of(rig.asking("too many"))
        assert "1 messages wait, and 1 more for room" in str(refused)
        assert isinstance(await error_of(hasty), DeadlineExceededError)
        patient = rig.asking("patient")
        rig.agent.gate.set()
        assert await asyncio.gather(running, inside, patient) == ["wait", "inside", "patient"]

    run(scenario)


def test_control_messages_never_wait() -> None:
    async def scenario() -> None:
        rig = Rig(Gated(mailbox_size=1))
        asked = [rig.asking("wait"), rig.asking(1)]
        await until(lambda: rig.cell.mailbox.count == 1)
        assert (await rig.control(Pause("lunch"))).paused == "lunch"
        assert await rig.control("own") == ("control", "own")
        rig.agent.gate.set()
        assert await asked[0] == "wait"
        await asyncio.sleep(0.01)
        assert not asked[1].done()
        assert (await rig.control(Resume())).paused == ""
        assert await asked[1] == 1

    run(scenario)


def test_the_mailbox_can_be_looked_into() -> None:
    async def scenario() -> None:
        rig = Rig()
        asked = [rig.asking("wait"), rig.asking("low", priority=Priority.LOW), rig.asking("next", sender="s")]
        await until(lambda: rig.cell.mailbox.count == 2)
        (shown,) = await rig.control(GetMailbox(limit=1))
        assert (shown.preview, shown.sender, shown.priority) == ("'next'", "s", "normal")
        assert len(await rig.control(GetMailbox())) == 2
        rig.agent.gate.set()
        await asyncio.gather(*asked)

    run(scenario)


def test_a_running_and_a_waiting_message_can_be_cancelled_and_others_go_on() -> None:
    async def scenario() -> None:
        rig = Rig()
        running, waiting, last = rig.asking("wait", id="r"), rig.asking(1, id="w"), rig.asking(2)
        await until(lambda: rig.agent.begun == ["wait"])
        assert await rig.control(Cancel("w"))
        assert await rig.control(Cancel("r"))
        assert await rig.control(Cancel("nobody")) is False
        for asked in (running, waiting):
            assert "was cancelled" in str(await error_of(asked))
        assert await last == 2
        assert rig.agent.begun == ["wait", 2]

    run(scenario)


def test_a_message_can_be_cancelled_that_was_chosen_and_has_not_begun() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.tell(1, id="r")
        assert (rig.cell.status().in_flight, rig.cell.status().mailbox) == (1, 0)
        assert await rig.control(Cancel("r"))
        rig.tell(2)
        await until(lambda: rig.agent.ended == [2])
        assert "was cancelled" in str(rig.told[0].error)
        assert rig.told[1] == BEGUN

    run(scenario)


def test_the_asker_may_go_and_the_message_is_handled_all_the_same() -> None:
    async def scenario() -> None:
        rig = Rig()
        asked = rig.asking("wait")
        await until(lambda: rig.agent.begun == ["wait"])
        asked.cancel()
        await asyncio.wait((asked,))
        rig.agent.gate.set()
        await until(lambda: rig.agent.ended == ["wait"])

    run(scenario)


def test_a_message_delivered_in_the_callers_own_task_is_told_apart_from_it_when_cancelled() -> None:
    async def scenario() -> None:
        rig = Rig()

        async def deliver() -> tuple[Reply, int]:
            reply = await rig.cell.post(rig.envelope("wait", id="r"), here=True)
            return reply, asyncio.current_task().cancelling()

        delivering = asyncio.create_task(deliver())
        await until(lambda: rig.agent.begun == ["wait"])
        waiting = rig.asking("next")
        await asyncio.sleep(0)
        assert await rig.control(Cancel("r"))
        reply, cancelling = await delivering
        assert isinstance(reply.error, AgentStoppedError)
        assert cancelling == 0
        assert await waiting == "next"  # whoever waited meanwhile gets the free slot

    run(scenario)


def test_messages_of_one_key_are_handled_once_and_share_the_answer() -> None:
    async def scenario() -> None:
        rig = Rig()
        first, second = rig.asking("wait", key="k"), rig.asking("again", key="k")
        await until(lambda: rig.agent.begun == ["wait"])
        rig.agent.gate.set()
        assert await asyncio.gather(first, second) == ["wait", "wait"]
        assert await rig.ask("later", key="k") == "wait"
        assert rig.agent.begun == ["wait"]

    run(scenario)


def test_a_key_whose_message_was_not_handled_is_free_again() -> None:
    async def scenario() -> None:
        rig = Rig(Gated(mailbox_size=1))
        asked = [rig.asking("wait"), rig.asking(1)]
        await until(lambda: rig.cell.mailbox.count == 1)
        assert isinstance(await error_of(rig.asking(2, key="k")), MailboxFullError)
        rig.agent.gate.set()
        await asyncio.gather(*asked)
        assert await rig.ask(3, key="k") == 3

    run(scenario)


def test_answers_are_not_remembered_unless_a_key_asks_for_it() -> None:
    async def scenario() -> None:
        rig = Rig()
        assert [await rig.ask(n) for n in range(3)] == [0, 1, 2]
        assert rig.cell._keys is None

    run(scenario)


def test_an_agents_error_is_answered_and_the_next_message_handled() -> None:
    async def scenario() -> None:
        rig = Rig()

        async def fails() -> None:
            raise ValueError("boom")

        error = await error_of(rig.asking(fails))
        assert isinstance(error, AgentFailedError)
        assert isinstance(error.cause, ValueError)
        assert await rig.ask(1) == 1
        assert (rig.cell.status().failed, rig.cell.status().handled) == (1, 1)

    run(scenario)


def test_a_told_message_is_answered_when_the_agent_begins_with_it() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.tell("wait")
        assert rig.told == []
        await until(lambda: rig.agent.begun == ["wait"])
        assert rig.told == [BEGUN]
        rig.tell(1)
        await rig.cell.stop("shutdown")
        assert "before handling it" in str(rig.told[1].error)

    run(scenario)


def test_bug_agent_exit_did_not_run_on_stop() -> None:
    async def scenario() -> None:
        rig = Rig(Gated(concurrency=2))

        async def leaves() -> None:
            raise AgentExit("tired")

        running = rig.asking("wait")
        leaving, waiting = rig.asking(leaves), rig.asking(1)
        assert "ended: tired" in str(await error_of(leaving))
        for asked in (running, waiting):
            assert isinstance(await error_of(asked), AgentStoppedError)
        await until(lambda: rig.exits == ["tired"])
        assert rig.agent.stops == ["tired"]
        assert rig.agent.ended == ["cancelled"]
        assert (await rig.cell.post(rig.envelope(2))).stale

    run(scenario)


def test_an_exit_whose_clean_up_hangs_is_reported_all_the_same() -> None:
    async def scenario() -> None:
        class Hangs(Gated):
            async def on_stop(self, reason: str) -> None:
                await asyncio.Event().wait()

        rig = Rig(Hangs())

        async def leaves() -> None:
            raise AgentExit("tired")

        await error_of(rig.asking(leaves))
        await asyncio.wait_for(rig.cell.stop("shutdown"), 5)  # a stop meanwhile waits for that same end
        assert rig.exits == ["tired"]

    run(scenario)


def test_a_stop_answers_everyone_cancels_what_runs_and_cleans_up_once() -> None:
    async def scenario() -> None:
        rig = Rig()
        asked = [rig.asking("wait"), rig.asking(1), rig.asking(2, not_before=rig.clock.now() + 60)]
        await until(lambda: rig.cell.mailbox.count == 2)
        await rig.cell.stop("shutdown")
        await rig.cell.stop("shutdown")
        errors = [await error_of(a) for a in asked]
        assert all(isinstance(error, AgentStoppedError) for error in errors)
        assert "stopped (shutdown) before handling it" in str(errors[1])
        assert (rig.agent.stops, rig.exits) == (["shutdown"], [])

    run(scenario)


def test_a_stop_between_the_choice_of_a_message_and_its_beginning_answers_it_too() -> None:
    async def scenario() -> None:
        rig = Rig()
        rig.tell(1)
        await rig.cell.stop("shutdown")
        await until(lambda: bool(rig.told))
        assert isinstance(rig.told[0].error, AgentStoppedError)
        assert rig.agent.begun == []

    run(scenario)


def test_an_abort_tells_what_runs_from_what_waits_and_runs_no_hook() -> None:
    async def scenario() -> None:
        rig = Rig()
        running, waiting = asyncio.create_task(rig.cell.post(rig.envelope("wait"))), rig.asking(1)
        await until(lambda: rig.cell.mailbox.count == 1 and rig.agent.begun == ["wait"])
        rig.cell.abort("killed by hand")
        reply = await running
        assert reply.stale  # whoever may ask again does, elsewhere
        assert isinstance(reply.error, OutcomeUnknownError)
        assert isinstance(await error_of(waiting), AgentStoppedError)
        await until(lambda: rig.agent.ended == ["cancelled"])
        assert rig.agent.stops == []

    run(scenario)


def test_another_incarnation_is_not_looked_at() -> None:
    async def scenario() -> None:
        rig = Rig()
        for fields in ({"epoch": 6}, {"epoch": 8}, {"epoch": 6, "control": True}):
            assert (await rig.cell.post(rig.envelope(1, **fields))).stale
        assert await rig.ask(1, epoch=7) == 1

    run(scenario)


def test_the_status_tells_how_long_the_oldest_message_has_shown_no_progress() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        rig = Rig(Gated(concurrency=2), clock)
        board, reported = ProgressBoard(), asyncio.Event()

        async def works() -> None:
            with board.unit("work", clock):
                await rig.agent.gate.wait()
                report_progress(0.5)
                reported.set()
                await asyncio.Event().wait()

        rig.asking(works, deadline_at=None)
        await until(lambda: rig.cell.status().in_flight == 1)
        clock.advance(3)
        other = rig.asking("wait")
        await until(lambda: rig.cell.status().in_flight == 2)
        assert (rig.cell.oldest_s, rig.cell.status().busy_s) == (3.0, 3.0)
        rig.agent.gate.set()
        await reported.wait()
        await other
        clock.advance(1)
        status = await rig.control(GetStatus())
        assert (status.oldest_s, status.busy_s, status.kind) == (1.0, 4.0, "Gated")
        await rig.cell.stop("shutdown")
        assert rig.cell.oldest_s == 0.0

    run(scenario)


def test_progress_told_after_its_message_has_ended_does_not_count_for_the_next() -> None:
    async def scenario() -> None:
        clock = ManualClock()
        rig = Rig(clock=clock)
        late: list[asyncio.Task[None]] = []
        board = ProgressBoard()

        async def leaves_work_behind() -> None:
            async def report_later() -> None:
                await asyncio.sleep(0)
                await until(lambda: rig.agent.begun[-1] == "wait")
                clock.advance(5)
                report_progress(0.5)

            with board.unit("work", clock):
                late.append(asyncio.create_task(report_later()))

        await rig.ask(leaves_work_behind)
        asked = rig.asking("wait")
        await late[0]
        assert rig.cell.oldest_s == 5.0
        rig.agent.gate.set()
        await asked

    run(scenario)


def test_nothing_of_a_senders_context_reaches_into_the_agent() -> None:
    async def scenario() -> None:
        inner, outer = Rig(), Rig()
        seen: list[Any] = []

        async def look() -> None:
            seen.append(in_hand.get().envelope.id)

        async def asks_on() -> None:
            await inner.ask(look, id="inner")
            seen.append(in_hand.get().envelope.id)

        await outer.ask(asks_on, id="outer")
        assert seen == ["inner", "outer"]
        assert in_hand.get() is None

    run(scenario)


def test_an_idle_agent_costs_less_than_4_kb() -> None:
    async def scenario() -> None:
        clock, count = SystemClock(), 1000
        host = LoneHost(clock)
        agents = [Agent() for _ in range(count)]
        gc.collect()
        tracemalloc.start()
        cells = [
            AgentCell(agent, host.context(f"agent-{n}", n), lambda _reason: None) for n, agent in enumerate(agents)
        ]
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert used / len(cells) < 2000

    run(scenario)
