"""One thread for one agent's database: its calls never block the event loop and keep their order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dspex_agents.database import Database

_T = TypeVar("_T")


class StoreThread:
    """Runs blocking calls one after the other. SQLite has one writer anyway."""

    def __init__(self, name: str, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, work: Callable[[], _T]) -> _T:
        """Return the result of `work()`. It is done to its end even if nobody waits for it any more."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Close the connections after the last call, without waiting. Calling it twice is harmless."""
        with contextlib.suppress(RuntimeError):
            self._thread.submit(self._database.close)
        self._thread.shutdown(wait=False)
