"""Time, passed in: the real clock, and one that tests move by hand."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Return seconds since the epoch (for records)."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back (for durations and deadlines within a process)."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        """Return the time set."""
        return self._now

    def monotonic(self) -> float:
        """Return the time set."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the time forward. Raises ValueError for a negative step."""
        if seconds < 0:
            msg = f"time cannot go back by {-seconds} s"
            raise ValueError(msg)
        self._now += seconds
