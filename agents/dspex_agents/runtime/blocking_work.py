"""Functions that block, run on threads beside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")
_THREADS = 32


class _Places:
    """The places of one agent: `taken` by functions that run, asked for by those who wait."""

    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class BlockingWork:
    """A bounded pool of threads. Each agent has a bound of its own, so that none can take them all."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._places: dict[str, _Places] = {}

    async def run(self, name: str, at_once: int, function: Callable[..., _T], *args: Any) -> _T:
        """Run the function on a thread, for an agent that may have `at_once` of them, with the caller's contextvars.

        Whoever awaits it may be cancelled: the thread goes on, and keeps its place until the function returns.
        """
        await self._take_place(name, min(at_once, max(1, self._threads // 2)))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dspex-blocking")
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()
        done: Future[_T] = self._pool.submit(context.run, function, *args)

        def free(_: Future[_T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._free_place, name)

        done.add_done_callback(free)
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Begin nothing more; what runs goes on."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _take_place(self, name: str, limit: int) -> None:
        places = self._places.setdefault(name, _Places())
        if places.taken < limit:
            places.taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        places.waiting.append(turn)
        try:
            await turn  # whoever frees a place hands it over
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free_place(name)
            raise

    def _free_place(self, name: str) -> None:
        places = self._places[name]
        while places.waiting:
            if not (turn := places.waiting.popleft()).done():
                turn.set_result(None)
                return
        places.taken -= 1
        if not places.taken:
            del self._places[name]
