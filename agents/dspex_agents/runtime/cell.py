"""One light agent at work: its mailbox, its messages in hand, its life from start to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

from dspex_agents.agent import Agent, AgentContext, AgentExit, AgentStatus
from dspex_agents.errors import MessageError
from dspex_agents.messaging import refusals
from dspex_agents.messaging.in_hand import InHand, in_hand
from dspex_agents.messaging.mailbox import Mailbox
from dspex_agents.messaging.message import BEGUN, Answer, Cancel, Envelope, GetMailbox, GetStatus, Pause, Reply, Resume
from dspex_agents.messaging.remembered_keys import RememberedKeys
from dspex_agents.runtime.alarm import Alarm

_log = logging.getLogger(__name__)
_KILLED, _ABORTED, _CANCELLED, _OVERDUE = "killed", "aborted", "cancelled", "overdue"
_TURN_S = 0.0005  # of work in a row; then the host's other agents have their turn
_TURN_MESSAGES = 100
_SLACK_S = 0.01  # deadlines of one agent are looked after at most so often


class AgentCell:
    """Runs one agent inside a host.

    `on_exit(reason)` is called once, when the agent has ended by itself and its `on_stop` has run, within `shutdown_s`
    seconds. `on_dead_letter` gets each question that a mailbox with the policy `dead_letter` turned away, and why.
    """

    __slots__ = (
        "_alarm",
        "_answers",
        "_busy_s",
        "_clock",
        "_ending",
        "_failed",
        "_handled",
        "_keys",
        "_last_activity",
        "_on_dead_letter",
        "_on_exit",
        "_rejected",
        "_running",
        "_shutdown_s",
        "_slots",
        "_started_at",
        "_stopped",
        "agent",
        "context",
        "epoch",
        "mailbox",
        "name",
        "paused",
    )

    def __init__(
        self,
        agent: Agent,
        context: AgentContext,
        on_exit: Callable[[str], None],
        *,
        shutdown_s: float = 5.0,
        on_dead_letter: Callable[[Envelope, str], None] | None = None,
    ) -> None:
        self.agent, self.context, self._on_exit = agent, context, on_exit
        self.name, self.epoch, self._clock = context.name, context.epoch, context.clock
        self._shutdown_s, self._on_dead_letter = shutdown_s, on_dead_letter
        agent.context = context
        self.mailbox = Mailbox(agent.mailbox_size, agent.overflow)
        self.paused: str | None = None
        self._stopped: str | None = None
        self._ending: asyncio.Task[None] | None = None
        self._alarm = Alarm(self._clock, self._tick)
        self._answers: dict[str, Answer] = {}
        self._running: dict[str, InHand] = {}
        self._keys: RememberedKeys | None = None
        self._slots = self._handled = self._failed = self._rejected = 0
        self._busy_s = 0.0
        self._started_at, self._last_activity = self._clock.now(), self._clock.monotonic()

    async def start(self) -> None:
        """Run the agent's `on_start`; an exception there means that it did not start."""
        await self.agent.on_start()

    # messages -----------------------------------------------------------------------------------------------------
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
            await self._run(self._take_up(envelope), only=True)
            return await future
        self.take(envelope, answer)
        if future.done():
            await asyncio.sleep(0)  # an asker who is refused each time must not keep the loop to itself
        return await future

    def _is_free(self, envelope: Envelope) -> bool:
        """Say whether the agent may begin with it at once."""
        is_ours = self._stopped is None and envelope.epoch in {None, self.epoch} and envelope.not_before is None
        return is_ours and self.paused is None and not self.mailbox.count and self._slots < self.agent.concurrency

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
            work = self._take_up(envelope)
            # an empty context: nothing of whoever happens to send may reach into the agent
            asyncio.get_running_loop().create_task(self._run(work), context=Context())

    def _take_up(self, envelope: Envelope) -> InHand:
        self._slots += 1
        work = self._running[envelope.id] = InHand(envelope, self._clock.monotonic())
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

    async def _run(self, work: InHand, *, only: bool = False) -> None:
        """Be one slot: handle message after message while there are any, or this one only.

        Its frame surrounds whatever the agent does: the watchdog looks for it.
        """
        task, monotonic = asyncio.current_task(), self._clock.monotonic
        turn, left = monotonic(), _TURN_MESSAGES
        try:
            while True:
                envelope, work.task = work.envelope, task
                if work.ended or self._stopped is not None:
                    self._drop(work)
                    break
                in_hand.set(work)
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
                if only:
                    break
                left -= 1
                if not left or now - turn > _TURN_S:
                    await asyncio.sleep(0)
                    now = turn = monotonic()
                    left = _TURN_MESSAGES
                if (following := self._next()) is None:
                    break
                work = self._running[following.id] = InHand(following, now)
        finally:
            self._slots -= 1
        self._pump()

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
            if self._stopped == _KILLED or (work.task is not None and work.task.cancelling() and not work.ended):
                self._done_with(work, work.began_at)
                self._refuse_with(work.envelope, refusals.cancelled(self.name))
                raise error
            if work.ended == _OVERDUE:
                self._failed += 1
                return refusals.not_finished(self.name)
            return refusals.cancelled(self.name)
        if isinstance(error, AgentExit):
            if self._stopped is None:
                self._stopped = error.reason
                self._ending = asyncio.get_running_loop().create_task(self._end(error.reason), context=Context())
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
                work.cut(_OVERDUE)
                self._settle(envelope, Reply(envelope.id, error=refusals.not_finished(self.name)), handled=True)
        self._pump()
        moments = [at for at in (*coming, self.mailbox.next_due()) if at is not None]
        if moments and self._stopped is None:
            self._alarm.set(max(min(moments), now + _SLACK_S))

    # end ----------------------------------------------------------------------------------------------------------
    async def stop(self, reason: str) -> None:
        """Refuse new messages, cancel what runs, answer whoever waits, and run the agent's `on_stop`."""
        if self._ending is not None:
            await asyncio.wait((self._ending,))
        elif self._stopped is None:
            self._stopped = reason
            await self._wind_up(reason)

    def terminate(self) -> None:
        """Stop without a word: no hook runs, nobody is answered (as when the process is killed)."""
        self._stopped = _KILLED
        self._halt(_KILLED)

    def abort(self, reason: str) -> None:
        """End at once: no hook runs; what waits is answered as not handled, what runs as of unknown outcome."""
        self._stopped = reason
        for work in list(self._running.values()):
            if work.task is not None:
                error = refusals.perhaps_handled(self.name, reason)
                self._settle(work.envelope, Reply(work.envelope.id, error=error, stale=True), handled=True)
        self._halt(_ABORTED)
        self._turn_away()

    def _halt(self, why: str) -> None:
        for work in self._running.values():
            work.cut(why)
        if self._ending is not None:
            self._ending.cancel()
        self._alarm.cancel()

    async def _end(self, reason: str) -> None:
        """Wind up after AgentExit."""
        try:
            async with asyncio.timeout(self._shutdown_s):
                await self._wind_up(reason)
        except TimeoutError:
            _log.warning("agent %r did not stop within %g s after its exit", self.name, self._shutdown_s)
        self._on_exit(reason)

    async def _wind_up(self, reason: str) -> None:
        tasks = {work.task for work in self._running.values() if work.task is not None}
        for work in self._running.values():
            work.cut(_CANCELLED)
        self._turn_away()
        self._alarm.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self.agent.on_stop(reason)
        except Exception:  # noqa: BLE001 - the actor boundary: a failing clean-up must not keep the host from going on
            _log.warning("on_stop of agent %r raised", self.name, exc_info=True)

    def _turn_away(self) -> None:
        for envelope in self.mailbox.drain():
            self._refuse_with(envelope, refusals.not_handled(self.name, self._stopped))

    # figures and control ------------------------------------------------------------------------------------------
    @property
    def load(self) -> float:
        """Messages in hand and waiting, for each that may be in hand."""
        return (len(self._running) + self.mailbox.count + self.mailbox.outside) / self.agent.concurrency

    @property
    def oldest_s(self) -> float:
        """For how many seconds the oldest message in hand has shown no progress; 0 without one."""
        if not self._running:
            return 0.0
        return max(0.0, self._clock.monotonic() - min(work.marked_at for work in self._running.values()))

    def status(self) -> AgentStatus:
        """Return the figures of this moment."""
        state = "paused" if self.paused is not None else ("processing" if self._running else "idle")
        now = self._clock.monotonic()
        return AgentStatus(
            name=self.name,
            epoch=self.epoch,
            status="stopped" if self._stopped is not None else state,
            mailbox=self.mailbox.count,
            in_flight=len(self._running),
            handled=self._handled,
            failed=self._failed,
            started_at=self._started_at,
            idle_s=max(0.0, now - self._last_activity),
            details=self.agent.details(),
            busy_s=self._busy_s + sum(now - work.began_at for work in self._running.values()),
            oldest_s=self.oldest_s,
            mailbox_size=self.mailbox.size,
            concurrency=self.agent.concurrency,
            paused=self.paused or "",
            kind=type(self.agent).__name__,
            rejected=self._rejected,
        )

    async def _answer_control(self, envelope: Envelope, answer: Answer) -> None:
        answer(envelope, await self._control(envelope))

    async def _control(self, envelope: Envelope) -> Reply:
        try:
            value: Any
            match envelope.body:
                case GetStatus():
                    value = self.status()
                case GetMailbox(limit):
                    value = self.mailbox.listing(limit)
                case Pause(reason):
                    self.paused = reason
                    value = self.status()
                case Resume():
                    self.paused = None
                    self._pump()
                    value = self.status()
                case Cancel(message_id):
                    value = self._cancel(message_id)
                case body:
                    value = await self.agent.on_control(body)
        except Exception as error:  # noqa: BLE001 - the actor boundary: the asker gets the agent's error, whatever it is
            return Reply(envelope.id, error=refusals.failure(self.name, error))
        return Reply(envelope.id, value)

    def _cancel(self, message_id: str) -> bool:
        if (waiting := self.mailbox.remove(message_id)) is not None:
            self._refuse_with(waiting, refusals.cancelled(self.name))
            return True
        work = self._running.get(message_id)
        if work is None:  # whoever asked knows the key that it gave, and not always the id
            work = next((w for w in self._running.values() if w.envelope.key == message_id), None)
        if work is not None:
            work.cut(_CANCELLED)
        return work is not None


_background: set[asyncio.Task[None]] = set()


def _in_background(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work, context=Context())
    _background.add(task)  # the loop alone would let it be collected
    task.add_done_callback(_background.discard)
