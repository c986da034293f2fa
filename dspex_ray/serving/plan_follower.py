"""`PlanFollower`: keeps the router of a replica at the plan in force, without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from dspex_agents import AgentSystemError
from dspex_ray.errors import ProgramError
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.store.plans import PlanRevision
from dspex_ray.traffic.traffic_agent import WatchPlan

AskTraffic = Callable[[WatchPlan], Awaitable[PlanRevision | None]]
"""The way to the traffic agent. Raises an AgentSystemError while there is none."""

_FIRST_S: Final = 5.0
_PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0)

_log = logging.getLogger(__name__)


class PlanFollower:
    """Waits for plans above `revision` and puts them in force; used on the event loop of its router.

    While nobody can be asked, and when a version cannot be loaded, the plan before stays in force; the latter is tried
    again every few seconds, until it works or there is a newer plan.
    """

    def __init__(self, endpoint: str, router: VersionsRouter, ask: AskTraffic, revision: int) -> None:
        self._endpoint, self._router, self._ask, self._seen = endpoint, router, ask, revision
        self._pending: PlanRevision | None = None
        self._told = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin; return when the plan in force is known, or goes on being unknown for 5 s."""
        self._following = asyncio.create_task(self._follow(), name=f"plans of {self._endpoint}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_S):
                await self._told.wait()

    async def stop(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self) -> None:
        failures = 0
        while True:
            hold = WatchPlan(self._endpoint, self._seen) if self._told.is_set() else self._first()
            try:
                news = await self._ask(hold)
                failures = 0
            except AgentSystemError as error:
                if not failures:
                    _log.warning("%s keeps its traffic plan, there is no news of it: %s", self._endpoint, error)
                await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1
                continue
            await self._take(news or self._pending)
            self._told.set()

    def _first(self) -> WatchPlan:
        return WatchPlan(self._endpoint, self._seen, hold_s=0.0)

    async def _take(self, news: PlanRevision | None) -> None:
        if news is None:
            return
        self._seen, self._pending = news.revision, news
        try:
            await self._router.use(news.plan, news.revision)
        except ProgramError as error:
            _log.warning("%s keeps its traffic plan: revision %d: %s", self._endpoint, news.revision, error)
        else:
            self._pending = None
