"""One light agent at work: its mailbox, its messages in hand, its life from start to stop."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable
from contextvars import Context
from typing import Any

from dspex_agents.agent import Agent, AgentContext, AgentExit, AgentStatus
from dspex_agents.errors import (
    AgentFailedError,
    AgentStoppedError,
    DeadlineExceededError,
    MailboxFullError,
    MessageError,
    OutcomeUnknownError,
)
from dspex_agents.messaging.in_hand import InHand, in_hand
from dspex_agents.messaging.mailbox import Mailbox
from dspex_agents.messaging.message import Answer, Cancel, Envelope, GetMailbox, GetStatus, Pause, Reply, Resume
from dspex_agents.messaging.remembered_keys import RememberedKeys

_log = logging.getLogger(__name__)
_KILLED, _ABORTED, _CANCELLED, _OVERDUE = "killed", "aborted", "cancelled", "overdue"
_TURN_S = 0.0005  # of work in a row; then the host's other agents have their turn
_TURN_MESSAGES = 100
_SLACK_S = 0.01  # deadlines of one agent are looked after at most so often
_BEGUN = Reply("")


class AgentCell:
    """Runs one agent inside a host.

    `on_exit(reason)` is called once, when the agent has ended by itself and its `on_stop` has run, within `shutdown_s`
    seconds. `on_dead_letter` gets each question that a mailbox with the policy `dead_letter` turned away, and why.
    """

    __slots__ = (
        "_answers",
        "_busy_s",
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
        "_timer",
        "agent",
        "context",
        "mailbox",
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
        self._shutdown_s, self._on_dead_letter = shutdown_s, on_dead_letter
        agent.context = context
        self.mailbox = Mailbox(agent.mailbox_size, agent.overflow)
        self.paused: str | None = None
        self._stopped: str | None = None
        self._ending: asyncio.Task[None] | None = None
        self._timer: tuple[float, asyncio.TimerHandle] | None = None
        self._answers: dict[str, Answer] = {}
        self._running: dict[str, InHand] = {}
        self._keys: RememberedKeys | None = None
        self._slots = self._handled = self._failed = self._rejected = 0
        self._busy_s = 0.0
        self._started_at = context.clock.now()
        self._last_activity = context.clock.monotonic()

    async def start(self) -> None:
        """Run the agent's `on_start`; an exception there means that it did not start."""
        await self.agent.on_start()

    # messages -----------------------------------------------------------------------------------------------------
    def take(self, envelope: Envelope, answer: Answer) -> None:
        """Take a message in. `answer(envelope, reply)` is called once: now, or when its turn has come and gone."""
        if self._stopped is not None or (envelope.epoch is not None and envelope.epoch != self.context.epoch):
            answer(envelope, Reply(envelope.id, stale=True))
        elif envelope.control:
            _in_background(self._answer_control(envelope, answer))
        elif envelope.key is None or not self._is_repeated(envelope.key, envelope, answer):
            self._answers[envelope.id] = answer
            if (loser := self.mailbox.put(envelope)) is not None:
                self._refuse(loser)
            if envelope.deadline_at is not None:
                self._look_at(envelope.deadline_at)
            self._pump()

    async def post(self, envelope: Envelope) -> Reply:
        """Answer one envelope: at once for a control message, otherwise when its turn has come and gone."""
        if envelope.control and self._stopped is None and envelope.epoch in {None, self.context.epoch}:
            return await self._control(envelope)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answer(_: Envelope, reply: Reply) -> None:
            if not future.done():  # whoever asked may have gone
                future.set_result(reply)

        self.take(envelope, answer)
        return await future

    def _is_repeated(self, key: str, envelope: Envelope, answer: Answer) -> bool:
        if self._keys is None:
            self._keys = RememberedKeys()
        return self._keys.is_repeated(key, envelope, answer)

    def _refuse(self, loser: Envelope) -> None:
        self._rejected += 1
        name, size = self.context.name, self.mailbox.size
        text = f"The mailbox of agent {name!r} is full ({size} messages wait)."
        if self.mailbox.overflow == "block":
            text = f"The mailbox of agent {name!r} is full ({size} messages wait, and {size} more for room)."
        if self.mailbox.overflow == "dead_letter" and not loser.told:
            if self._on_dead_letter is not None:
                self._on_dead_letter(loser, text)
            text += " The message is kept as a dead letter."
        self._settle(loser, Reply(loser.id, error=MailboxFullError(text)), handled=False)

    def _pump(self) -> None:
        """Start as many slots as there is work for."""
        while self._slots < self.agent.concurrency and self.paused is None and self._stopped is None:
            envelope = self._next()
            if envelope is None:
                return
            self._slots += 1
            # an empty context: nothing of whoever happens to send may reach into the agent
            asyncio.get_running_loop().create_task(self._serve(envelope), context=Context())

    def _next(self) -> Envelope | None:
        """Take out the next message that is still wanted."""
        if self.paused is not None or self._stopped is not None or not len(self.mailbox):
            return None
        now = self.context.clock.now()
        while (envelope := self.mailbox.get(now)) is not None:
            if envelope.deadline_at is None or envelope.deadline_at > now:
                return envelope
            self._give_up(envelope)
        if (due := self.mailbox.next_due()) is not None:
            self._look_at(due)
        return None

    async def _serve(self, first: Envelope) -> None:
        """Be one slot: handle message after message while there are any."""
        task = asyncio.current_task()
        monotonic = self.context.clock.monotonic
        turn, count = monotonic(), 0
        envelope: Envelope | None = first
        try:
            while envelope is not None:
                if self._stopped is not None:
                    self._settle(envelope, self._not_handled(envelope), handled=False)
                    return
                await self._run(envelope, task)
                count += 1
                if count >= _TURN_MESSAGES or self._last_activity - turn > _TURN_S:
                    await asyncio.sleep(0)
                    turn, count = monotonic(), 0
                envelope = self._next()
        finally:
            self._slots -= 1

    async def _run(self, envelope: Envelope, task: asyncio.Task[None] | None) -> None:
        began = self._last_activity = self.context.clock.monotonic()
        if envelope.told and (answer := self._answers.pop(envelope.id, None)) is not None:
            answer(envelope, _BEGUN)
        work = self._running[envelope.id] = InHand(envelope, task, began)
        in_hand.set(work)
        exit_reason: str | None = None
        try:
            value = await self.agent.on_message(envelope.body)
            self._handled += 1
            reply = Reply(envelope.id, value)
        except asyncio.CancelledError:
            reply = self._cut_short(work)
        except AgentExit as end:
            exit_reason = end.reason
            ended = AgentStoppedError(f"Agent {self.context.name!r} ended: {end.reason}.")
            reply = Reply(envelope.id, error=ended)
        except Exception as error:  # noqa: BLE001 - the actor boundary: the asker gets the agent's error, whatever it is
            self._failed += getattr(error, "counts_as_failure", True)
            reply = Reply(envelope.id, error=self._failure(error))
        finally:
            self._running.pop(envelope.id, None)
            while work.ended and task is not None and task.cancelling():
                task.uncancel()  # the message was cancelled, not the slot
            self._last_activity = now = self.context.clock.monotonic()
            self._busy_s += now - began
        self._settle(envelope, reply, handled=True)
        if exit_reason is not None and self._stopped is None:
            self._stopped = exit_reason
            self._ending = asyncio.get_running_loop().create_task(self._end(exit_reason), context=Context())

    def _cut_short(self, work: InHand) -> Reply:
        """Answer for a message that was cancelled; a cancellation from outside goes on."""
        envelope, task = work.envelope, work.task
        if self._stopped == _KILLED:
            raise asyncio.CancelledError
        if task is not None and task.cancelling() and not work.ended:
            self._settle(envelope, self._not_handled(envelope), handled=True)
            raise asyncio.CancelledError
        if work.ended == _OVERDUE:
            self._failed += 1
            return self._too_slow(envelope)
        if work.ended == _ABORTED:
            return self._unknown(envelope)
        cancelled = AgentStoppedError(f"The message to {self.context.name!r} was cancelled.")
        return Reply(envelope.id, error=cancelled)

    def _settle(self, envelope: Envelope, reply: Reply, *, handled: bool) -> None:
        if (answer := self._answers.pop(envelope.id, None)) is not None:
            answer(envelope, reply)
        if envelope.key is not None and self._keys is not None:
            self._keys.settle(envelope.key, reply, handled=handled)

    # time ---------------------------------------------------------------------------------------------------------
    def _look_at(self, at: float) -> None:
        """Look after deadlines and delayed messages at this moment (seconds since the epoch), or earlier."""
        if self._timer is not None:
            if self._timer[0] <= at:
                return
            self._timer[1].cancel()
        wait_s = max(0.0, at - self.context.clock.now())
        self._timer = at, asyncio.get_running_loop().call_later(wait_s, self._tick, context=Context())

    def _tick(self) -> None:
        self._timer = None
        now = self.context.clock.now()
        for envelope in self.mailbox.expire(now):
            self._give_up(envelope)
        running = [w for w in self._running.values() if w.envelope.deadline_at is not None and not w.ended]
        for work in running:
            if work.envelope.deadline_at <= now:  # type: ignore[operator] # chosen above
                work.cut(_OVERDUE)
                self._settle(work.envelope, self._too_slow(work.envelope), handled=True)
        self._pump()
        coming = [w.envelope.deadline_at for w in running if not w.ended]
        moments = [at for at in (*coming, self.mailbox.next_deadline(), self.mailbox.next_due()) if at is not None]
        if moments and self._stopped is None:
            self._look_at(max(min(moments), now + _SLACK_S))

    def _give_up(self, envelope: Envelope) -> None:
        text = f"Agent {self.context.name!r} did not come to it in time ({len(self.mailbox)} messages wait)."
        self._settle(envelope, Reply(envelope.id, error=DeadlineExceededError(text)), handled=False)

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
        for work in self._running.values():
            self._settle(work.envelope, self._unknown(work.envelope), handled=True)
        self._halt(_ABORTED)
        self._turn_away()

    def _halt(self, why: str) -> None:
        for work in self._running.values():
            work.cut(why)
        if self._ending is not None:
            self._ending.cancel()
        if self._timer is not None:
            self._timer[1].cancel()

    async def _end(self, reason: str) -> None:
        """Wind up after AgentExit."""
        try:
            async with asyncio.timeout(self._shutdown_s):
                await self._wind_up(reason)
        except TimeoutError:
            _log.warning("agent %r did not stop within %g s after its exit", self.context.name, self._shutdown_s)
        self._on_exit(reason)

    async def _wind_up(self, reason: str) -> None:
        tasks = {work.task for work in self._running.values() if work.task is not None}
        for work in self._running.values():
            work.cut(_CANCELLED)
        self._turn_away()
        if self._timer is not None:
            self._timer[1].cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self.agent.on_stop(reason)
        except Exception:  # noqa: BLE001 - the actor boundary: a failing clean-up must not keep the host from going on
            _log.warning("on_stop of agent %r raised", self.context.name, exc_info=True)

    def _turn_away(self) -> None:
        for envelope in self.mailbox.drain():
            self._settle(envelope, self._not_handled(envelope), handled=False)

    # answers ------------------------------------------------------------------------------------------------------
    def _not_handled(self, envelope: Envelope) -> Reply:
        text = f"Agent {self.context.name!r} stopped ({self._stopped}) before handling it."
        return Reply(envelope.id, error=AgentStoppedError(text))

    def _too_slow(self, envelope: Envelope) -> Reply:
        return Reply(envelope.id, error=DeadlineExceededError(f"Agent {self.context.name!r} did not finish in time."))

    def _unknown(self, envelope: Envelope) -> Reply:
        text = f"Agent {self.context.name!r} ended ({self._stopped}) over the message; it may have been handled."
        return Reply(envelope.id, error=OutcomeUnknownError(text), stale=True)

    def _failure(self, error: Exception) -> MessageError:
        if isinstance(error, MessageError):
            return error
        kind, text = type(error).__name__, str(error)
        story = f"Agent {self.context.name!r} failed: {kind}: {text}"
        return AgentFailedError(story, kind, text, travelling_or_none(error))

    # figures and control ------------------------------------------------------------------------------------------
    @property
    def load(self) -> float:
        """Messages in hand and waiting, for each that may be in hand."""
        return (len(self._running) + len(self.mailbox) + self.mailbox.outside) / self.agent.concurrency

    @property
    def oldest_s(self) -> float:
        """For how many seconds the oldest message in hand has shown no progress; 0 without one."""
        if not self._running:
            return 0.0
        return max(0.0, self.context.clock.monotonic() - min(work.marked_at for work in self._running.values()))

    def status(self) -> AgentStatus:
        """Return the figures of this moment."""
        state = "paused" if self.paused is not None else ("processing" if self._running else "idle")
        now = self.context.clock.monotonic()
        return AgentStatus(
            name=self.context.name,
            epoch=self.context.epoch,
            status="stopped" if self._stopped is not None else state,
            mailbox=len(self.mailbox),
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
            return Reply(envelope.id, error=self._failure(error))
        return Reply(envelope.id, value)

    def _cancel(self, message_id: str) -> bool:
        if (waiting := self.mailbox.remove(message_id)) is not None:
            cancelled = AgentStoppedError(f"The message to {self.context.name!r} was cancelled.")
            self._settle(waiting, Reply(message_id, error=cancelled), handled=False)
            return True
        if (work := self._running.get(message_id)) is not None:
            work.cut(_CANCELLED)
            return True
        return False


_background: set[asyncio.Task[None]] = set()


def _in_background(work: Any) -> None:
    task = asyncio.get_running_loop().create_task(work, context=Context())
    _background.add(task)  # the loop alone would let it be collected
    task.add_done_callback(_background.discard)


def travelling(error: Exception) -> Exception:
    """Return the error if it can travel to another process, otherwise one that tells its type and text."""
    if isinstance(copy := travelling_or_none(error), Exception):
        return copy
    kind = type(error).__name__
    return AgentFailedError(f"{kind}: {error}", kind, str(error))


def travelling_or_none(error: Exception) -> Exception | None:
    """Return the error as the other process would get it, or None when it cannot travel."""
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes made on this very line
    except Exception:  # noqa: BLE001 - an error class may break pickling in any way; its text travels in any case
        return None
    return copy if isinstance(copy, Exception) else None
