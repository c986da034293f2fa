"""A timer that rings at the earliest of all moments it was set to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context

from dspex_agents.clock import Clock


class Alarm:
    """Calls `ring` once, at the earliest moment set since it last rang. Costs nothing until it is set."""

    __slots__ = ("_at", "_clock", "_handle", "_ring")

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock, self._ring = clock, ring
        self._at = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: float) -> None:
        """Ring at this moment (seconds since the epoch), or earlier if it is set to that already."""
        if self._handle is not None:
            if self._at <= at:
                return
            self._handle.cancel()
        self._at = at
        wait_s = max(0.0, at - self._clock.now())
        self._handle = asyncio.get_running_loop().call_later(wait_s, self._due, context=Context())

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _due(self) -> None:
        self._handle = None
        self._ring()
