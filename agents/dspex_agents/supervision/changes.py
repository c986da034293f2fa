"""Waiting for a condition on state that one event loop changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Changes:
    """Wakes those who wait, at most once a turn of the loop however much has changed."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_due = False

    def notify(self) -> None:
        """Let everyone look again, soon. Called on the loop."""
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._wake)

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Return when the condition holds. Raises TimeoutError after `timeout_s` seconds."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.add(future)
                try:
                    await future
                finally:
                    self._waiting.discard(future)

    def _wake(self) -> None:
        self._is_due = False
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
