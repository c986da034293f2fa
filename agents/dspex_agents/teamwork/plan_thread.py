"""A plan on a thread of its own: everything that is due is done in one visit, one visit at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from dspex_agents.roles.plan import Outcome, Plan, Revisited, ShowsResults, Work

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one visit to the plan; `again_s` is when the next one must come at the latest, None for no time."""

    finished: bool
    work: Sequence[Work]
    progress: Mapping[str, Any]
    again_s: float | None = None


class PlanThread:
    """Builds a plan on a thread and calls its methods there; a visit costs two changes of threads, not eight."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"plan-{name}")
        self._plan: Plan | None = None

    async def open(self, build: Callable[[], Plan]) -> None:
        """Build and open the plan. Raises what that raises."""
        await self._call(self._open, build)

    async def visit(self, outcomes: Sequence[Outcome], limit: int, now: float, cancel: str | None) -> Turn:
        """Cancel if there is a reason to, push, then pull at most `limit` units. Raises what the plan raises."""
        return await self._call(self._visit, outcomes, limit, now, cancel)

    async def result(self) -> Any:
        """Return the plan's result."""
        return await self._call(self._opened().result)

    def results(self) -> Mapping[str, Any]:
        """Return the values of the units done so far where the plan shows them. Does not wait for the thread."""
        plan: object = self._plan
        return plan.results() if isinstance(plan, ShowsResults) else {}

    async def close(self) -> None:
        """Close the plan, if it was built, and end the thread when it is idle."""
        try:
            await asyncio.shield(self._call(self._close))  # a cancel must not take it off the thread's queue
        finally:
            self._executor.shutdown(wait=False)

    def _open(self, build: Callable[[], Plan]) -> None:
        self._plan = build()
        self._plan.open()

    def _visit(self, outcomes: Sequence[Outcome], limit: int, now: float, cancel: str | None) -> Turn:
        plan = self._opened()
        if cancel is not None:
            plan.cancel(cancel)  # first: what comes back of cancelled units is no failure then
        again_s = plan.revisit(now) if isinstance(plan, Revisited) else None
        if outcomes:
            plan.push(outcomes, now)
        finished = plan.finished()
        work: Sequence[Work] = () if finished or limit < 1 else plan.pull(limit, now)
        if not finished and not work:
            finished = plan.finished()  # it may have found out in `pull` that nothing is left
        return Turn(finished, work, plan.progress(), again_s)

    def _close(self) -> None:
        if self._plan is not None:
            self._plan.close()

    def _opened(self) -> Plan:
        if self._plan is None:
            raise RuntimeError("open() comes first")
        return self._plan

    async def _call(self, method: Callable[..., _Result], *args: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *args)
