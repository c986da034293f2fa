"""`ServiceAgent`: an agent that answers messages and does what is due by the clock beside them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from dspex_agents.agent import Agent, AgentExit
from dspex_agents.errors import MessageError, SpecError, SystemStoppedError
from dspex_agents.messaging.message import Priority

_log = logging.getLogger(__name__)
_LONGEST_SLEEP_S = 30.0  # how late a service may notice that the wall clock was moved
_SHORTEST_SLEEP_S = 0.001
_TICK_TIMEOUT_S = 60.0
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class TickNow:
    """Do what is due by the clock; answered with the seconds until more is. A service sends it to itself too.

    `epoch` is the incarnation whose timer sent it; another one refuses it, and that timer ends.
    """

    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class _Broken:
    """To itself: end, because work beside the messages failed."""

    reason: str


class ServiceAgent(Agent):
    """Base class of services: implement `serve` (answer a message) and `tick` (do what is due).

    Ticks come as messages of high priority: they show in the figures and a pause holds them. A tick that raises, and
    work given to `spawn` that does, end the agent: its supervisor starts it anew, which beats a service gone deaf.
    """

    capabilities = frozenset({"service"})

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._awake, self._ticking = asyncio.Event(), asyncio.Lock()

    async def serve(self, body: Any) -> Any:
        """Answer a message, also as a control message; must not wait for long. Call `super().serve` for a stranger."""
        raise NotImplementedError(f"{type(self).__name__} takes no message of type {type(body).__name__}.")

    async def tick(self) -> float:
        """Do what is due and return for how many seconds nothing will be. Called at the start, then by the timer."""
        raise NotImplementedError

    # life ---------------------------------------------------------------------------------------------------------
    async def on_start(self) -> None:
        """Start the timer. A subclass prepares first and calls this last."""
        self.spawn(self._run_timer())

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the same end for every reason
        """Stop the timer and what was spawned."""
        self.release()

    async def on_message(self, body: Any) -> Any:
        """Tick, or serve."""
        match body:
            case TickNow(epoch):
                return await self._tick(epoch)
            case _Broken(reason):
                self.release()
                raise AgentExit(reason)
            case _:
                return await self.serve(body)

    async def on_control(self, body: Any) -> Any:
        """Serve at once, however full the mailbox."""
        return await self.serve(body)

    # for subclasses -----------------------------------------------------------------------------------------------
    def wake(self) -> None:
        """Let the timer tick now: what is due has changed."""
        self._awake.set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do work beside the messages, until the agent stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def fail(self, error: BaseException) -> None:
        """End the agent soon, because something beside the messages, or under them, is broken."""
        self.spawn(self._announce_end(f"{type(error).__name__}: {error}"))

    def release(self) -> None:
        """Let go of everything, at the end of every kind. A subclass closes what it has opened, twice without harm."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    # the timer ----------------------------------------------------------------------------------------------------
    async def _tick(self, epoch: int | None) -> float:
        if epoch not in {None, self.context.epoch}:
            raise SpecError(f"service {self.context.name!r} is no longer incarnation {epoch}.")
        async with self._ticking:
            try:
                return await self.tick()
            except AgentExit:
                self.release()
                raise
            except Exception as error:
                _log.exception("service %r cannot go on", self.context.name)
                self.release()
                raise AgentExit(f"its tick failed: {type(error).__name__}: {error}") from error

    async def _run_timer(self) -> None:
        while (wait_s := await self._send_tick()) is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), min(_LONGEST_SLEEP_S, max(_SHORTEST_SLEEP_S, wait_s)))
            self._awake.clear()

    async def _send_tick(self) -> float | None:
        """Tick by a message; return the seconds until the next one, None when there is to be none."""
        message = TickNow(self.context.epoch)
        try:
            wait_s: float = await self.context.ask(
                self.context.name, message, priority=Priority.HIGH, timeout_s=_TICK_TIMEOUT_S
            )
        except SystemStoppedError:
            return None
        except MessageError as error:
            if isinstance(getattr(error, "cause", None), SpecError):
                return None  # another incarnation lives under this name and has a timer of its own
            _log.warning("service %r did not take its tick: %s", self.context.name, error)
            return _RETRY_S  # full or paused
        return wait_s

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("service %r cannot go on", self.context.name, exc_info=error)
            self.fail(error)

    async def _announce_end(self, reason: str) -> None:
        """End through a message to itself: only there does a supervisor get to know the reason."""
        with contextlib.suppress(MessageError, SystemStoppedError):
            await self.context.ask(self.context.name, _Broken(reason), priority=Priority.HIGH)
