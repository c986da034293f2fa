"""Ended spans on their way to a sink: a bounded buffer, emptied in batches by a thread."""

from __future__ import annotations

import atexit
import importlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

SpanRow = dict[str, Any]
"""One span as a flat mapping; its `attributes` are a mapping of plain values."""

Sink = Callable[[list[SpanRow]], None]
"""Stores spans, and returns when it has them; called on a thread. One that raises is offered the same spans again."""

CAPACITY = 20_000
_MOST_IN_BATCH = 500
_INTERVAL_S = 0.5
_MOST_PAUSE_S = 30.0
_LAST_S = 5.0

_log = logging.getLogger(__name__)


class SpanWriter:
    """Holds spans until a sink has stored them. `put` never waits; spans beyond `capacity` are dropped and counted."""

    def __init__(
        self, default: Callable[[], Sink], *, capacity: int = CAPACITY, interval_s: float = _INTERVAL_S
    ) -> None:
        """`default` makes the sink of a process that named none; asked once, when there is something to write."""
        self._default, self._capacity, self._interval_s = default, capacity, interval_s
        self._sink: Sink | None = None
        self._rows: deque[SpanRow] = deque()
        self._writing, self._beginning = threading.Lock(), threading.Lock()
        self._arrived = threading.Event()
        self._thread: threading.Thread | None = None
        self._written = self._dropped = self._failures = 0

    def put(self, row: SpanRow) -> None:
        """Take a span."""
        if len(self._rows) >= self._capacity:
            if not self._dropped:
                _log.warning("more than %d spans wait to be written; others are dropped meanwhile", self._capacity)
            self._dropped += 1
            return
        self._rows.append(row)
        if not self._arrived.is_set():
            self._arrived.set()
            if self._thread is None or not self._thread.is_alive():  # a forked process has none
                self._begin()

    def use(self, sink: Sink) -> None:
        """Write to this sink from now on, also what waits."""
        self._sink = sink

    def status(self) -> Mapping[str, int]:
        """Return how many spans wait, were written and were dropped, and how many writes failed."""
        return {
            "waiting": len(self._rows),
            "written": self._written,
            "dropped": self._dropped,
            "failed_writes": self._failures,
        }

    def flush(self, timeout_s: float) -> bool:
        """Write what waits, on this thread; say whether all of it was taken. The sink bounds the time of a batch."""
        if not self._writing.acquire(timeout=timeout_s):
            return False
        try:
            while self._rows:
                if not self._write():
                    return False
        finally:
            self._writing.release()
        return True

    def _begin(self) -> None:
        with self._beginning:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="dspex-spans", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is about to end; the last flush takes what waits
                    self._thread = None

    def _run(self) -> None:
        pause_s, rest = self._interval_s, threading.Event()
        while True:
            self._arrived.wait()
            rest.wait(pause_s)  # so that what follows travels with it
            self._arrived.clear()
            if self.flush(_LAST_S):
                pause_s = self._interval_s
            else:
                pause_s = min(_MOST_PAUSE_S, pause_s * 2)
                self._arrived.set()

    def _write(self) -> bool:
        batch = [self._rows[index] for index in range(min(_MOST_IN_BATCH, len(self._rows)))]
        try:
            self._sink = self._sink or self._default()
            self._sink(batch)
        except Exception as error:  # noqa: BLE001 - any sink may fail in its own way; the spans stay and are offered again
            self._failures += 1
            _log.warning("%d spans could not be written, to be tried again: %s", len(batch), error)
            return False
        for _ in batch:
            self._rows.popleft()
        self._written += len(batch)
        return True


def store_sink(store: Any) -> Sink:
    """Return the sink that writes to a store."""
    return importlib.import_module("dspex_ray.store.spans").SpanStore(store.database).write  # type: ignore[no-any-return] # it is


def _default_store() -> Sink:
    return store_sink(importlib.import_module("dspex_ray.store").open_store())


WRITER = SpanWriter(_default_store)
atexit.register(WRITER.flush, _LAST_S)
