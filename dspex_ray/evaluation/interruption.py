"""Ctrl-C during an evaluation: it ends in order, and the rows done so far are kept."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from dspex_ray.evaluation.result import Evaluation

_QUIET_S = 10.0


class EvaluationInterruptedError(KeyboardInterrupt):
    """Ctrl-C during an evaluation. `evaluation` holds the rows that were done, in their order; None without any."""

    def __init__(self, evaluation: Evaluation | None, total: int) -> None:
        done = evaluation.rows if evaluation else 0
        figures = f" Their mean score is {evaluation.accuracy:.3f}." if evaluation else ""
        super().__init__(f"Interrupted after {done} of {total} rows.{figures}")
        self.evaluation, self.total = evaluation, total


class Interruption:
    """Turns Ctrl-C into the cancellation of a task, whatever handler the process has; `pressed` says it came.

    Hasty presses after the first do not disturb the end. One that comes ten seconds later raises KeyboardInterrupt at
    once: the program may stand in code that cannot be cancelled.
    """

    def __init__(self) -> None:
        self._first: float | None = None

    @property
    def pressed(self) -> bool:
        """Whether Ctrl-C came."""
        return self._first is not None

    @contextmanager
    def cancels(self, task: asyncio.Task[Any] | None) -> Iterator[None]:
        """Do so while inside, on the loop of the task. In another thread than the main one signals never come."""
        if task is None or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = task.get_loop()

        def press(_number: int, _frame: FrameType | None) -> None:
            now = time.monotonic()
            if self._first is None:
                self._first = now
                loop.call_soon_threadsafe(task.cancel)
            elif now - self._first > _QUIET_S:
                raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, press)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
