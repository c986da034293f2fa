"""The messages of one agent: which wait, which are in hand, and how each is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from dspex_agents.agent import Agent, AgentContext, AgentExit
from dspex_agents.errors import MessageError
from dspex_agents.messaging import refusals
from dspex_agents.messaging.in_hand import InHand, in_hand
from dspex_agents.messaging.mailbox import Mailbox
from dspex_agents.messaging.message import BEGUN, Answer, Envelope, Reply
from dspex_agents.messaging.remembered_keys import RememberedKeys
from dspex_agents.messaging.trace_context import current_trace
from dspex_agents.runtime.alarm import Alarm

KILLED, ABORTED, CANCELLED, OVERDUE = "killed", "aborted", "cancelled", "overdue"
"""Why a message in hand was cut short."""
_TURN_S = 0.0005  # of work in a row; then the host's other agents have their turn
_TURN_MESSAGES = 100
_SLACK_S = 0.01  # deadlines of one agent are looked after at most so often


class Workbench:
    """Hands an agent its messages: as many at once as it allows, in order, each within its deadline.

    What it does beside its messages, control and an end by itself, a subclass adds. `on_dead_letter` gets each question
    that a mailbox with the policy `dead_letter` turned away, and why.
    """

    __slots__ = (
        "_alarm",
        "_answers",
        "_busy_s",
        "_chosen",
        "_clock",
        "_failed",
        "_handled",
        "_keys",
        "_last_activity",
        "_on_dead_letter",
        "_rejected",
        "_running",
        "_slots",
        "_stopped",
        "agent",
        "context",
        "epoch",
        "mailbox",
        "name",
        "paused",
    )

    def __init__(
        self, agent: Agent, context: AgentContext, on_dead_letter: Callable[[Envelope, str], None] | None
    ) -> None:
        self.agent, self.context, self._on_dead_letter = agent, context, on_dead_letter
        self.name, self.epoch, self._clock = context.name, context.epoch, context.clock
        self.mailbox = Mailbox(agent.mailbox_size, agent.overflow)
        self.paused: str | None = None
        self._stopped: str | None = None
        self._alarm = Alarm(self._clock, self._tick)
        self._answers: dict[str, Answer] = {}
        self._running: dict[str, InHand] = {}
        self._chosen: list[InHand] = []  # in hand, and not begun: the first slot that can takes the first
        self._keys: RememberedKeys | None = None
        self._slots = self._handled = self._failed = self._rejected = 0
        self._busy_s = 0.0
        self._last_activity = self._clock.monotonic()

    async def _control(self, envelope: Envelope) -> Reply:
        """Answer a control message."""
        raise NotImplementedError

    def _exit(self, reason: str) -> None:
        """Begin to end: the agent wants it so."""
        raise NotImplementedError

    def take(self, envelope: Envelope, answer: Answer) -> None:
        """Take a message in. `answer(envelope, reply)` is called once: now, or when its turn has come and gone."""
        if self._stopped is not None or (envelope.epoch is not None and envelope.epoch != self.epoch):
            answer(envelope, Reply(envelope.id, stale=True))
        elif envelope.control:
            _in_background(self._answer_control(envelope, answer))
        elif envelope.key is None or not self._is_repeated(envelope, answer):
            self._expect(envelope, answer)
            if (loser := self.mailbox.put(envelope)) is not None:
                self._refuse(loser)
            if self._slots < self.agent.concurrency:
                self._pump()

    async def post(self, envelope: Envelope, *, here: bool = False) -> Reply:
        """Answer one envelope: at once for a control message, otherwise when its turn has come and gone.

        With `here` the agent may handle it in the task that calls this, which saves two turns of the loop.
        """
        if envelope.control and self._stopped is None and envelope.epoch in {None, self.epoch}:
            return await self._control(envelope)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answer(_: Envelope, reply: Reply) -> None:
            if not future.done():  # whoever asked may have gone
                future.set_result(reply)

        if here and self._is_free(envelope) and not self._is_repeated(envelope, answer):
            self._expect(envelope, answer)
            self._slots += 1
            await self._run(self._take_up(envelope, self._clock.monotonic()))
            return await future
        self.take(envelope, answer)
        if future.done():
            await asyncio.sleep(0)  # an asker who is refused each time must not keep the loop to itself
        return await future

    def _is_free(self, envelope: Envelope) -> bool:
        """Say whether the agent may begin with it at once."""
        is_ours = self._stopped is None and envelope.epoch in {None, self.epoch} and envelope.not_before is None
        is_first = not self.mailbox.count and not self._chosen
        return is_ours and is_first and self.paused is None and self._slots < self.agent.concurrency

    def _is_repeated(self, envelope: Envelope, answer: Answer) -> bool:
        if envelope.key is None:
            return False
        if self._keys is None:
            self._keys = RememberedKeys()
        return self._keys.is_repeated(envelope.key, envelope, answer)

    def _expect(self, envelope: Envelope, answer: Answer) -> None:
        self._answers[envelope.id] = answer
        if envelope.deadline_at is not None:
            self._alarm.set(envelope.deadline_at)

    def _refuse(self, loser: Envelope) -> None:
        self._rejected += 1
        error = refusals.mailbox_full(self.name, self.mailbox)
        if self.mailbox.overflow == "dead_letter" and not loser.told and self._on_dead_letter is not None:
            self._on_dead_letter(loser, str(error))
        self._refuse_with(loser, error)

    def _pump(self) -> None:
        """Start as many slots as there is work for."""
        while self._slots < self.agent.concurrency and (envelope := self._next()) is not None:
            self._slots += 1
            self._chosen.append(self._take_up(envelope, self._clock.monotonic()))
            # an empty context: nothing of whoever happens to send may reach into the agent
            asyncio.get_running_loop().create_task(self._run(), context=Context())

    def _take_up(self, envelope: Envelope, now: float) -> InHand:
        work = self._running[envelope.id] = InHand(envelope, now)
        return work

    def _next(self) -> Envelope | None:
        """Take out the next message that is still wanted."""
        mailbox = self.mailbox
        if not mailbox.count or self.paused is not None or self._stopped is not None:
            return None
        now = self._clock.now()
        while (envelope := mailbox.get(now)) is not None:
            if envelope.deadline_at is None or envelope.deadline_at > now:
                return envelope
            self._refuse_with(envelope, refusals.not_come_to(self.name, mailbox.count))
        if (due := mailbox.next_due()) is not None:
            self._alarm.set(due)
        return None

    async def _run(self, only: InHand | None = None) -> None:
        """Be one slot: handle message after message while there are any, or this one only.

        Its frame surrounds whatever the agent does: the watchdog looks for it.
        """
        task, monotonic = asyncio.current_task(), self._clock.monotonic
        now = turn = monotonic()
        left = _TURN_MESSAGES
        try:
            while (work := only or self._next_work(now)) is not None:
                envelope, work.task = work.envelope, task
                if work.ended or self._stopped is not None:
                    self._drop(work)
                    if only is not None:
                        break
                    continue
                in_hand.set(work)
                if envelope.trace is not current_trace.get():  # setting costs four times as much
                    current_trace.set(envelope.trace)
                value, error = None, None
                if envelope.told:
                    self._answers.pop(envelope.id)(envelope, BEGUN)
                try:
                    value = await self.agent.on_message(envelope.body)
                    self._handled += 1
                except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 - the actor boundary: it is answered
                    error = self._failed_with(work, raised)
                now = monotonic()
                self._done_with(work, now)
                if not envelope.told:
                    self._settle(envelope, Reply(envelope.id, value, error), handled=True)
                if only is not None:
                    break
                left -= 1
                if not left or now - turn > _TURN_S:
                    await asyncio.sleep(0)
                    now = turn = monotonic()
                    left = _TURN_MESSAGES
        finally:
            self._slots -= 1
        self._pump()

    def _next_work(self, now: float) -> InHand | None:
        if self._chosen:
            return self._chosen.pop(0)
        envelope = self._next()
        return None if envelope is None else self._take_up(envelope, now)

    def _drop(self, work: InHand) -> None:
        """Give up a message that was cut short before it began."""
        self._running.pop(work.envelope.id, None)
        stopped = refusals.not_handled(self.name, self._stopped)
        self._refuse_with(work.envelope, refusals.cancelled(self.name) if self._stopped is None else stopped)

    def _done_with(self, work: InHand, now: float) -> None:
        self._running.pop(work.envelope.id, None)
        self._last_activity = now
        self._busy_s += now - work.began_at
        if work.ended:
            work.forget_cut()

    def _failed_with(self, work: InHand, error: BaseException) -> MessageError:
        """Return the error to answer with. A cancellation from outside goes on."""
        if isinstance(error, asyncio.CancelledError):
            if self._stopped == KILLED or (work.task is not None and work.task.cancelling() and not work.ended):
                self._done_with(work, work.began_at)
                self._refuse_with(work.envelope, refusals.cancelled(self.name))
                raise error
            if work.ended == OVERDUE:
                self._failed += 1
                return refusals.not_finished(self.name)
            return refusals.cancelled(self.name)
        if isinstance(error, AgentExit):
            self._exit(error.reason)
            return refusals.ended(self.name, error.reason)
        self._failed += getattr(error, "counts_as_failure", True)
        return refusals.failure(self.name, error)  # type: ignore[arg-type] # an Exception, by now

    def _refuse_with(self, envelope: Envelope, error: MessageError) -> None:
        self._settle(envelope, Reply(envelope.id, error=error), handled=False)

    def _settle(self, envelope: Envelope, reply: Reply, *, handled: bool) -> None:
        if (answer := self._answers.pop(envelope.id, None)) is not None:
            answer(envelope, reply)
        if envelope.key is not None and self._keys is not None:
            self._keys.settle(envelope.key, reply, handled=handled)

    def _tick(self) -> None:
        """Give up what is overdue, and begin with what is due."""
        now = self._clock.now()
        for envelope in self.mailbox.expire(now):
            self._refuse_with(envelope, refusals.not_come_to(self.name, self.mailbox.count))
        coming = [self.mailbox.next_deadline()]
        for work in list(self._running.values()):
            envelope = work.envelope
            if envelope.deadline_at is None or envelope.deadline_at > now:
                coming.append(envelope.deadline_at)
            elif not work.ended:
                work.cut(OVERDUE)
                self._settle(envelope, Reply(envelope.id, error=refusals.not_finished(self.name)), handled=True)
        self._pump()
        moments = [at for at in (*coming, self.mailbox.next_due()) if at is not None]
        if moments and self._stopped is None:
            self._alarm.set(max(min(moments), now + _SLACK_S))

    async def _answer_control(self, envelope: Envelope, answer: Answer) -> None:
        answer(envelope, await self._control(envelope))

    def _cancel(self, message_id: str) -> bool:
        if (waiting := self.mailbox.remove(message_id)) is not None:
            self._refuse_with(waiting, refusals.cancelled(self.name))
            return True
        work = self._running.get(message_id)
        if work is None:  # whoever asked knows the key that it gave, and not always the id
            work = next((w for w in self._running.values() if w.envelope.key == message_id), None)
        if work is not None:
            work.cut(CANCELLED)
        return work is not None

    def _turn_away(self) -> None:
        """Answer everything that waits."""
        for envelope in self.mailbox.drain():
            self._refuse_with(envelope, refusals.not_handled(self.name, self._stopped))


_background: set[asyncio.Task[None]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work, context=Context())
    _background.add(task)  # the loop alone would let it be collected
    task.add_done_callback(_background.discard)
