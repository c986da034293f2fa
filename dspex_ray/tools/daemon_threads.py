"""Threads that nothing waits for: a function that hangs holds up neither the loop's end nor the process's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

_IDLE_S = 5.0


class DaemonThreads:
    """At most `most` threads at a time, started when needed and ended after five idle seconds; calls beyond wait.

    A thread pool of the standard library is joined at exit, and `asyncio.run` joins its own: there a function without
    end would keep the process from ending.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._ready = threading.Condition()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = self._idle = 0

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Run the call in a thread. A future that is cancelled before its turn is never run; `call` must not raise."""
        future: Future[Any] = Future()
        with self._ready:
            self._calls.append((future, call))
            if len(self._calls) > self._idle and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name="dspex-tool", daemon=True).start()
            self._ready.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._ready:
                self._idle += 1
                found = self._ready.wait_for(lambda: bool(self._calls), _IDLE_S)
                self._idle -= 1
                if not found:
                    self._threads -= 1
                    return
                future, call = self._calls.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(call())
            del future, call  # an idle thread keeps no result alive
