"""`TrafficAgent`: tells replicas which plan is in force as soon as there is a new one, and advances ramps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from dspex_agents import Agent
from dspex_agents.errors import AgentSystemError
from dspex_ray.errors import DspexError
from dspex_ray.store import Store
from dspex_ray.store.plans import PlanRevision, PlanStore
from dspex_ray.traffic.ramp import ArmEvidence
from dspex_ray.traffic.ramping import RampRunner, ReportArms

TRAFFIC: Final = "traffic"
_LOOK_S: Final = 0.2
_RAMP_S: Final = 0.5
_MOST_HOLD_S: Final = 60.0
_MOST_REPLICAS: Final = 10_000

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Answer with the plan in force of an endpoint once its revision is above this one; None after `hold_s` seconds."""

    endpoint: str
    revision: int
    hold_s: float = 5.0


class TrafficAgent(Agent):
    """Looks into the store five times a second while somebody waits, once for all; keeps nothing that must survive.

    Ramps go on twice a second while there are replicas; what is known of their arms is kept in the store each time.
    """

    concurrency = 1000

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="traffic")
        self._plans: PlanStore | None = None
        self._known: dict[str, PlanRevision] = {}
        self._waiting: Counter[str] = Counter()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ramps: RampRunner | None = None
        self._evidence: dict[str, dict[str, ArmEvidence]] = {}
        self._reported: dict[str, int] = {}

    async def on_start(self) -> None:
        """Open the store and begin to look."""
        self._plans = await self._blocking(lambda: PlanStore(self._store.database))
        self._ramps = await self._blocking(lambda: RampRunner(self._store.database))
        self._tasks = [asyncio.create_task(work(), name="traffic") for work in (self._look_often, self._ramp_often)]

    async def on_message(self, body: Any) -> PlanRevision | None:
        """Answer when there is news, or take in a report."""
        if isinstance(body, ReportArms):
            self._take(body)
            return None
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
        for task in self._tasks:
            task.cancel()
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

    def _take(self, report: ReportArms) -> None:
        if self._reported.pop(report.replica, 0) < report.number:
            of = self._evidence.setdefault(report.endpoint, {})
            for arm, one in report.arms.items():
                of[arm] = of.get(arm, ArmEvidence()) + one
        self._reported[report.replica] = report.number  # now the last one of them
        while len(self._reported) > _MOST_REPLICAS:
            del self._reported[next(iter(self._reported))]

    async def _ramp_often(self) -> None:
        while True:
            await asyncio.sleep(_RAMP_S)
            ramps, evidence = self._ramps, self._evidence
            if ramps is None or not self._waiting:  # no replica is there
                continue
            self._evidence = {}
            try:
                for moved in await self._blocking(partial(ramps.turn, evidence, self.context.clock.now())):
                    _log.info("the ramp of %s is %s: %s", moved.endpoint, moved.state.status, moved.state.reason or "")
            except (AgentSystemError, DspexError) as error:
                _log.warning("ramps do not go on for now: %s", error)

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
