"""Outgoing records of model calls: a bounded buffer, flushed to a sink in the background."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

Row = dict[str, Any]
"""One model call as a flat, JSON-able mapping (see `CallRecord.as_row`); passed on and not read."""

DEFAULT_CAPACITY = 10_000
MAX_BATCH = 1_000
FLUSH_INTERVAL_S = 0.5
MAX_PAUSE_S = 30.0
CLOSE_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class CallSink(Protocol):
    """Where the records of model calls are written: the ledger, usually."""

    async def write(self, rows: list[Row]) -> None:
        """Store the rows.

        Called by one task at a time, in the background. If it raises, the same rows are offered again later, so a
        sink must accept a row it has seen before.
        """
        ...


class CallBuffer:
    """Holds rows until the sink has stored them; used on one event loop.

    `put` never waits. A row stays until a `write` that includes it has returned, so a sink may be offered a row
    twice. Rows beyond `capacity` are dropped and counted, and so are the rows a sink refuses until the end.
    """

    def __init__(
        self, sink: CallSink, *, capacity: int = DEFAULT_CAPACITY, interval_s: float = FLUSH_INTERVAL_S
    ) -> None:
        self._sink, self._capacity, self._interval_s = sink, capacity, interval_s
        self._rows: deque[Row] = deque()
        self._written = self._dropped = self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()

    def put(self, rows: list[Row]) -> None:
        """Note the rows; those that find no room are dropped and counted."""
        room = max(0, self._capacity - len(self._rows))
        self._rows.extend(rows[:room])
        self._dropped += max(0, len(rows) - room)
        self._arrived.set()

    def status(self) -> Mapping[str, int]:
        """Return how many rows wait, were written and were dropped, and how many writes failed."""
        return {
            "waiting": len(self._rows),
            "written": self._written,
            "dropped": self._dropped,
            "failed_writes": self._failures,
        }

    async def start(self) -> None:
        """Begin to flush in the background."""
        self._task = asyncio.create_task(self._run(), name="call-buffer")

    async def close(self) -> None:
        """Write what waits, within 5 s; what the sink does not take by then is dropped and logged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                while self._rows and await self._flush():
                    pass
        except TimeoutError:
            _log.warning("the ledger did not take the last records within %s s", CLOSE_TIMEOUT_S)
        if self._rows:
            _log.error("%d records of model calls were not written", len(self._rows))
            self._dropped += len(self._rows)
            self._rows.clear()

    async def _run(self) -> None:
        pause_s = self._interval_s
        while True:
            await self._arrived.wait()
            await asyncio.sleep(pause_s)
            pause_s = self._interval_s if await self._flush() else min(MAX_PAUSE_S, pause_s * 2)

    async def _flush(self) -> bool:
        """Write one batch and say whether the sink took it."""
        batch = [self._rows[index] for index in range(min(MAX_BATCH, len(self._rows)))]
        if batch:
            try:
                await self._sink.write(batch)
            except Exception as error:  # noqa: BLE001 - any sink may fail in its own way; the rows stay and are offered again
                self._failures += 1
                _log.warning("%d records could not be written, to be tried again: %s", len(batch), error)
                return False
            for _ in batch:
                self._rows.popleft()
            self._written += len(batch)
        if not self._rows:
            self._arrived.clear()
        return True
