"""The questions all sides are asked, and the stopwatch they are timed with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from side import Figures


def question(number: int) -> str:
    return f"What is the word of item-{number}?"


def answer(number: int) -> str:
    return f"word-{number}"


@contextmanager
def stopwatch(count: int) -> Iterator[Figures]:
    """Give a dict that holds at the end: examples a second, and CPU of this process per example in ms."""
    figures: Figures = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield figures
    figures["rate"] = count / (time.perf_counter() - wall)
    figures["cpu_ms"] = 1000 * (time.process_time() - cpu) / count


def peak_mb() -> float:
    """Return the most resident memory this process has had, in MB (10^6 bytes)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")  # ru_maxrss begins with that of the parent
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
