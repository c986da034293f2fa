"""One light agent at work: its mailbox, its running messages, its life from start to stop."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections import OrderedDict
from collections.abc import Callable
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
from dspex_agents.messaging.mailbox import Mailbox
from dspex_agents.messaging.message import Cancel, Envelope, GetStatus, Pause, Reply, Resume
from dspex_agents.roles.progress import current_message_id

_log = logging.getLogger(__name__)
_REMEMBERED_KEYS = 1024
_KILLED = "killed"


class AgentCell:
    """Runs one agent inside a host. `on_exit(reason)` is called once when the agent ended by itself."""

    def __init__(self, agent: Agent, context: AgentContext, on_exit: Callable[[str], None]) -> None:
        self.agent, self.context, self._on_exit = agent, context, on_exit
        agent.context = context
        self.mailbox = Mailbox(agent.mailbox_size, agent.overflow)
        self.paused: str | None = None
        self._stopped: str | None = None
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._by_key: OrderedDict[str, asyncio.Future[Reply]] = OrderedDict()
        self._handled = self._failed = 0
        self._started_at = context.clock.now()
        self._last_activity = context.clock.monotonic()

    async def start(self) -> None:
        """Run the agent's `on_start`; an exception there means that it did not start."""
        await self.agent.on_start()

    async def post(self, envelope: Envelope) -> Reply:
        """Answer one envelope: at once for a control message, otherwise when its turn has come and gone."""
        if self._stopped is not None or (envelope.epoch is not None and envelope.epoch != self.context.epoch):
            return Reply(envelope.id, stale=True)
        if envelope.control:
            return await self._control(envelope)
        if envelope.key is not None and (known := self._by_key.get(envelope.key)):
            first = await asyncio.shield(known)
            return Reply(envelope.id, first.value, first.error, first.stale)
        if self._is_free():
            return await self._run_here(envelope)
        future = self._enqueue(envelope)
        await asyncio.wait((future,), timeout=self._time_left(envelope))
        if not future.done() and self.mailbox.remove(envelope.id):
            text = f"Agent {self.context.name!r} did not come to it in time ({len(self.mailbox)} messages wait)."
            self._answer(envelope, error=DeadlineExceededError(text))
        return await asyncio.shield(future)

    async def stop(self, reason: str) -> None:
        """Refuse new messages, cancel what runs, answer whoever waits, and run the agent's `on_stop`."""
        if self._stopped is not None:
            return
        self._stopped = reason
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(self._running.values())
        self._answer_all(AgentStoppedError(f"Agent {self.context.name!r} stopped ({reason}) before handling it."))
        try:
            await self.agent.on_stop(reason)
        except Exception:  # noqa: BLE001 - the actor boundary: a failing clean-up must not keep the host from going on
            _log.warning("on_stop of agent %r raised", self.context.name, exc_info=True)

    def terminate(self) -> None:
        """Stop without a word: no hook runs, nobody is answered (as when the process is killed)."""
        self._stopped = _KILLED
        for task in self._running.values():
            task.cancel()

    def abort(self, reason: str) -> None:
        """End at once: no hook runs; what waits is answered as not handled, what runs as of unknown outcome."""
        self._stopped = reason
        self._answer_all(AgentStoppedError(f"Agent {self.context.name!r} ended ({reason}) before handling it."))
        unknown = OutcomeUnknownError(f"Agent {self.context.name!r} ended ({reason}); it may have been handled.")
        for future in self._waiting.values():
            if not future.done():
                future.set_result(Reply("", None, unknown))
        for task in self._running.values():
            task.cancel()

    @property
    def load(self) -> float:
        """Messages in hand and waiting, for each that may be in hand."""
        return (len(self._running) + len(self.mailbox)) / self.agent.concurrency

    @property
    def oldest_s(self) -> float:
        """For how many seconds the oldest message in hand has shown no progress; 0 without one."""
        return 0.0 if not self._running else max(0.0, self.context.clock.monotonic() - self._last_activity)

    def status(self) -> AgentStatus:
        """Return the figures of this moment."""
        state = "paused" if self.paused is not None else ("processing" if self._running else "idle")
        return AgentStatus(
            name=self.context.name,
            epoch=self.context.epoch,
            status="stopped" if self._stopped is not None else state,
            mailbox=len(self.mailbox),
            in_flight=len(self._running),
            handled=self._handled,
            failed=self._failed,
            started_at=self._started_at,
            idle_s=max(0.0, self.context.clock.monotonic() - self._last_activity),
            details=self.agent.details(),
        )

    # messages -----------------------------------------------------------------------------------------------------
    def _is_free(self) -> bool:
        return self.paused is None and len(self._running) < self.agent.concurrency and not len(self.mailbox)

    async def _run_here(self, envelope: Envelope) -> Reply:
        """Handle the message in the task that delivers it: no mailbox, no task of its own, a third of the time."""
        future = self._expect(envelope)
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - a coroutine always runs in a task
            raise RuntimeError("a message is delivered within a task")
        self._running[envelope.id] = task
        await self._run(envelope)
        return future.result()

    def _expect(self, envelope: Envelope) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[envelope.id] = future
        if envelope.key is not None:
            self._remember(envelope.key, future)
        return future

    def _enqueue(self, envelope: Envelope) -> asyncio.Future[Reply]:
        future = self._expect(envelope)
        loser = self.mailbox.put(envelope)
        if loser is not None:
            text = f"The mailbox of agent {self.context.name!r} is full ({self.mailbox.size} messages wait)."
            self._answer(loser, error=MailboxFullError(text))
        self._pump()
        return future

    def _remember(self, key: str, future: asyncio.Future[Reply]) -> None:
        self._by_key[key] = future
        while len(self._by_key) > _REMEMBERED_KEYS and next(iter(self._by_key.values())).done():
            self._by_key.popitem(last=False)

    def _pump(self) -> None:
        while self.paused is None and self._stopped is None and len(self._running) < self.agent.concurrency:
            envelope = self.mailbox.get()
            if envelope is None:
                return
            self._running[envelope.id] = asyncio.get_running_loop().create_task(self._run(envelope))

    async def _run(self, envelope: Envelope) -> None:
        self._last_activity = self.context.clock.monotonic()
        exit_reason: str | None = None
        named = current_message_id.set(envelope.id)
        try:
            async with asyncio.timeout(self._time_left(envelope)):
                value = await self.agent.on_message(envelope.body)
            self._handled += 1
            self._answer(envelope, value=value)
        except TimeoutError as error:
            self._failed += 1
            overdue = DeadlineExceededError(f"Agent {self.context.name!r} did not finish in time.")
            self._answer(envelope, error=self._failure(error) if self._has_time(envelope) else overdue)
        except asyncio.CancelledError:
            if self._stopped == _KILLED:
                raise
            if (task := asyncio.current_task()) is not None:
                task.uncancel()  # the message was cancelled, not whoever delivers it
            self._answer(envelope, error=AgentStoppedError(f"The message to {self.context.name!r} was cancelled."))
        except AgentExit as end:
            exit_reason = end.reason
            self._answer(envelope, error=AgentStoppedError(f"Agent {self.context.name!r} ended: {end.reason}."))
        except Exception as error:  # noqa: BLE001 - the actor boundary: the asker gets the agent's error, whatever it is
            self._failed += getattr(error, "counts_as_failure", True)
            self._answer(envelope, error=self._failure(error))
        finally:
            current_message_id.reset(named)
            self._last_activity = self.context.clock.monotonic()
            self._running.pop(envelope.id, None)
        if exit_reason is not None:
            self._exit(exit_reason)
        else:
            self._pump()

    def _time_left(self, envelope: Envelope) -> float | None:
        return None if envelope.deadline_at is None else max(0.0, envelope.deadline_at - self.context.clock.now())

    def _has_time(self, envelope: Envelope) -> bool:
        left = self._time_left(envelope)
        return left is None or left > 0

    def _failure(self, error: Exception) -> MessageError:
        if isinstance(error, MessageError):
            return error
        kind = type(error).__name__
        return AgentFailedError(
            f"Agent {self.context.name!r} failed: {kind}: {error}", kind, str(error), travelling_or_none(error)
        )

    def _exit(self, reason: str) -> None:
        self._stopped = reason
        self._answer_all(AgentStoppedError(f"Agent {self.context.name!r} ended ({reason}) before handling it."))
        for task in self._running.values():
            task.cancel()
        self._on_exit(reason)

    def _answer(self, envelope: Envelope, value: Any = None, error: MessageError | None = None) -> None:
        future = self._waiting.pop(envelope.id, None)
        if future is not None and not future.done():
            future.set_result(Reply(envelope.id, value, error))

    def _answer_all(self, error: MessageError) -> None:
        for envelope in self.mailbox.drain():
            self._answer(envelope, error=error)

    # control ------------------------------------------------------------------------------------------------------
    async def _control(self, envelope: Envelope) -> Reply:
        try:
            value: Any
            match envelope.body:
                case GetStatus():
                    value = self.status()
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
            self._answer(waiting, error=AgentStoppedError(f"The message to {self.context.name!r} was cancelled."))
            return True
        if (task := self._running.get(message_id)) is not None:
            task.cancel()
            return True
        return False


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
