"""A peer in a process of its own, with nothing of ours beside it: a command a line in, its figures a line out."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

Figures = dict[str, float]
Measure = Callable[[int], Figures]
"""Does something `count` times and returns figures by name."""
_END_WITHIN_S = 10.0


class SideModule(Protocol):
    """A module of a peer: `open_measures` starts the peer, gives what it can measure, and ends it."""

    @staticmethod
    def open_measures() -> AbstractContextManager[Mapping[str, Measure]]: ...


class Side:
    """The peer of one module, in its process; with `one_core` it has no other, which is quicker for some."""

    def __init__(self, module: str, *, one_core: bool = False) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agents_bench.side", module, *(["one-core"] if one_core else [])],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, what: str, count: int) -> Figures:
        """Return the figures of one measure."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, count]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer {self._process.args!r} ended while it measured {what!r}")
        figures: Figures = json.loads(line)
        return figures

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _serve(module: Any) -> None:
    side: SideModule = module
    with side.open_measures() as measures:
        for line in sys.stdin:
            what, count = json.loads(line)
            print(json.dumps(measures[what](count)), flush=True)


if __name__ == "__main__":
    if "one-core" in sys.argv:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before any thread is started
    _serve(importlib.import_module(sys.argv[1]))
