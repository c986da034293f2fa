"""`TrafficAgent`: tells the replicas of all endpoints which plan is in force, as soon as the store has a new one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from dspex_agents import Agent
from dspex_agents.errors import AgentSystemError
from dspex_ray.store import Store
from dspex_ray.store.plans import PlanRevision, PlanStore

TRAFFIC: Final = "traffic"
_LOOK_S: Final = 0.2
_MOST_HOLD_S: Final = 60.0

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Answer with the plan in force of an endpoint once its revision is above this one; None after `hold_s` seconds."""

    endpoint: str
    revision: int
    hold_s: float = 5.0


class TrafficAgent(Agent):
    """Looks into the store five times a second while somebody waits, once for all; keeps nothing that must survive."""

    concurrency = 1000

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="traffic")
        self._plans: PlanStore | None = None
        self._known: dict[str, PlanRevision] = {}
        self._waiting: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Open the store and begin to look."""
        self._plans = await self._blocking(lambda: PlanStore(self._store.database))
        self._looking = asyncio.create_task(self._look_often(), name="traffic-looking")

    async def on_message(self, body: Any) -> PlanRevision | None:
        """Answer when there is news."""
        if not isinstance(body, WatchPlan):
            raise NotImplementedError(f"TrafficAgent takes no message of type {type(body).__name__}.")
        self._waiting[body.endpoint] += 1
        try:
            await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(body.hold_s, _MOST_HOLD_S)):
                    while not self._is_news(body):
                        await self._news.wait()
        finally:
            self._waiting[body.endpoint] -= 1
            self._waiting += Counter[str]()  # which forgets those of 0
        return self._known[body.endpoint] if self._is_news(body) else None

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def details(self) -> dict[str, Any]:
        """Return the revision in force of each endpoint that was asked for, and how many replicas wait for news."""
        return {
            name: {"revision": one.revision, "waiting": self._waiting[name]}
            for name, one in sorted(self._known.items())
        }

    def _is_news(self, watch: WatchPlan) -> bool:
        known = self._known.get(watch.endpoint)
        return known is not None and known.revision > watch.revision

    async def _look_often(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._look()
            except AgentSystemError as error:
                _log.warning("the plans of endpoints cannot be read, replicas keep theirs: %s", error)
                await asyncio.sleep(1.0)

    async def _look(self) -> None:
        """Learn what is new for those who wait."""
        plans = self._plans
        names = [name for name, waiting in self._waiting.items() if waiting]
        if plans is None or not names:
            return
        seen = [(name, self._known[name].revision if name in self._known else 0) for name in names]
        found = await self._blocking(lambda: plans.newer(seen))
        if found:
            self._known |= {one.endpoint: one for one in found}
            news, self._news = self._news, asyncio.Event()
            news.set()

    async def _blocking(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
