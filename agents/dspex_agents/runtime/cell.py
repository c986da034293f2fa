"""One light agent at work: its life from start to stop, its figures, its control messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from typing import Any

from dspex_agents.agent import Agent, AgentContext, AgentStatus
from dspex_agents.messaging import refusals
from dspex_agents.messaging.message import Cancel, Envelope, GetMailbox, GetStatus, Pause, Reply, Resume
from dspex_agents.runtime.workbench import ABORTED, CANCELLED, KILLED, Workbench

_log = logging.getLogger(__name__)


class AgentCell(Workbench):
    """Runs one agent inside a host.

    `on_exit(reason)` is called once, when the agent has ended by itself and its `on_stop` has run, within `shutdown_s`
    seconds. For `on_dead_letter` see `Workbench`.
    """

    __slots__ = ("_ending", "_on_exit", "_shutdown_s", "_started_at")

    def __init__(
        self,
        agent: Agent,
        context: AgentContext,
        on_exit: Callable[[str], None],
        *,
        shutdown_s: float = 5.0,
        on_dead_letter: Callable[[Envelope, str], None] | None = None,
    ) -> None:
        super().__init__(agent, context, on_dead_letter)
        agent.context = context
        self._on_exit, self._shutdown_s = on_exit, shutdown_s
        self._ending: asyncio.Task[None] | None = None
        self._started_at = self._clock.now()

    async def start(self) -> None:
        """Run the agent's `on_start`; an exception there means that it did not start."""
        await self.agent.on_start()

    async def stop(self, reason: str) -> None:
        """Refuse new messages, cancel what runs, answer whoever waits, and run the agent's `on_stop`."""
        if self._ending is not None:
            await asyncio.wait((self._ending,))
        elif self._stopped is None:
            self._stopped = reason
            await self._wind_up(reason)

    def terminate(self) -> None:
        """Stop without a word: no hook runs, nobody is answered (as when the process is killed)."""
        self._stopped = KILLED
        self._halt(KILLED)

    def abort(self, reason: str) -> None:
        """End at once: no hook runs; what waits is answered as not handled, what runs as of unknown outcome."""
        self._stopped = reason
        for work in list(self._running.values()):
            if work.task is not None:
                error = refusals.perhaps_handled(self.name, reason)
                self._settle(work.envelope, Reply(work.envelope.id, error=error, stale=True), handled=True)
        self._halt(ABORTED)
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
            work.cut(CANCELLED)
        self._turn_away()
        self._alarm.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self.agent.on_stop(reason)
        except Exception:  # noqa: BLE001 - the actor boundary: a failing clean-up must not keep the host from going on
            _log.warning("on_stop of agent %r raised", self.name, exc_info=True)

    def _exit(self, reason: str) -> None:
        if self._stopped is None:
            self._stopped = reason
            self._ending = asyncio.get_running_loop().create_task(self._end(reason), context=Context())

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
