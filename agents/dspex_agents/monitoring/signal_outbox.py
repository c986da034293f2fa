"""`SignalOutbox`: hands signals to a bus beside the work, so that a slow or dead bus never holds the work up."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from dspex_agents.agent import AgentContext
from dspex_agents.errors import SpecError
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_messages import Publish

_log = logging.getLogger(__name__)


class SignalOutbox:
    """Publishes in order, each signal once. At most `size` wait: then the oldest is given up, and counted."""

    def __init__(
        self,
        context: AgentContext,
        bus: str,
        *,
        ids: IdSource | None = None,
        timeout_s: float = 10.0,
        size: int = 5000,
    ) -> None:
        self._context, self._bus, self._ids, self._timeout_s = context, bus, ids or RandomIds(), timeout_s
        self._waiting: deque[Signal] = deque()
        self._size = size
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.published = self.failed = self.given_up = 0
        self.last_error = ""

    def open(self) -> None:
        """Begin to publish."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """End at once; signals that still wait are given up."""
        if self._task is not None:
            self._task.cancel()
        if self._waiting:
            _log.warning("agent %r ends with %d signals not published", self._context.name, len(self._waiting))

    def put(self, type_: str, data: Any, subject: str | None = None) -> None:
        """Take in one signal of this moment; never raises for what is wrong with it."""
        source = f"/agents/{self._context.name}"
        try:
            signal = Signal.create(type_, source, data, ids=self._ids, clock=self._context.clock, subject=subject)
        except SpecError as error:
            self._note(error)
            return
        if len(self._waiting) >= self._size:
            self._waiting.popleft()
            self.given_up += 1
        self._waiting.append(signal)
        self._filled.set()

    @property
    def waiting(self) -> int:
        """How many signals wait."""
        return len(self._waiting)

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._waiting:
                message = Publish(self._waiting.popleft())
                try:
                    await self._context.ask(self._bus, message, timeout_s=self._timeout_s, retry_safe=True)
                    self.published += 1
                except Exception as error:  # noqa: BLE001 - whatever the way to the bus raises: the next one goes on
                    self._note(error)

    def _note(self, error: Exception) -> None:
        self.failed += 1
        text = f"{type(error).__name__}: {error}"
        if text != self.last_error:  # a bus that is gone would fill the log
            _log.warning("agent %r could not publish to %r: %s", self._context.name, self._bus, text)
        self.last_error = text
