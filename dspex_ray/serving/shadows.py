"""`Shadows`: copies of requests for versions that look on; their answers reach nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from dspex_ray.serving import problem
from dspex_ray.serving.exchanges import ANSWERED, CLIENT_LEFT, Exchange, Exchanges

_MOST = 64

_log = logging.getLogger(__name__)


class Shadows:
    """Runs copies beside the requests, at most `most` at once; those beyond are left out and counted."""

    def __init__(self, exchanges: Exchanges, timeout_s: float, most: int = _MOST) -> None:
        self._exchanges, self._timeout_s, self._most = exchanges, timeout_s, most
        self._running: set[asyncio.Task[None]] = set()
        self.left_out = 0

    def start(self, of: Exchange, fields: Mapping[str, Any]) -> None:
        """Begin the copies of a request that has been answered. Never raises, never waits."""
        for version in of.route.shadows:
            copy = self._begun(of, version)
            if copy is None:
                self.left_out += 1
                continue
            task = asyncio.create_task(self._run(copy, fields), name=f"shadow {copy.request_id}")
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def aclose(self) -> None:
        """Stop all copies."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begun(self, of: Exchange, version: str) -> Exchange | None:
        if len(self._running) >= self._most:
            return None
        try:
            return self._exchanges.begin_shadow(of, version)
        except KeyError:  # another plan is in force since, and the version is not live any more
            return None

    async def _run(self, copy: Exchange, fields: Mapping[str, Any]) -> None:
        end: tuple[int, str | None] = CLIENT_LEFT
        try:
            async with asyncio.timeout(self._timeout_s):
                await copy.service.answer(fields, copy.bill)
            end = ANSWERED
        except Exception as error:  # noqa: BLE001 - whatever a program raises; nobody waits for it
            found = problem.of_error(error)
            end = found.status, found.code
            _log.info("shadow %s of version %s failed with %d", copy.request_id, copy.route.version, found.status)
        finally:
            self._exchanges.end(copy, *end)
