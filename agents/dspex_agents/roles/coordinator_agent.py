"""The coordinator agent: drives plans over task agents; answers for progress and cancels at any moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.agent import Agent
from dspex_agents.errors import UnknownAgentError
from dspex_agents.roles.plan import Plan
from dspex_agents.roles.plan_run import PlanRun


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Run the plan that `build(**kwargs)` makes in the coordinator's process; answers with its result.

    A second message with the same `run_id` joins the run under way; the run stops when the last asker is gone, and
    a plan with a journal goes on from there when it is asked for again. `build` and `kwargs` pickle.
    """

    run_id: str
    build: Callable[..., Plan]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GetProgress:
    """Control: answer with the progress of a run (see `Plan.progress`)."""

    run_id: str


@dataclass(frozen=True, slots=True)
class CancelPlan:
    """Control: stop handing out work of a run; its asker gets the result of what was done."""

    run_id: str
    reason: str = "cancelled by hand"


class CoordinatorAgent(Agent):
    """Runs any number of plans at once, each over the same members.

    Members are task agents by name; `room` units are in flight at each. Work of a member that dies is given to
    another one, at most `attempts` times, before the plan hears of an infrastructure failure.
    """

    capabilities = frozenset({"coordination"})
    concurrency = 64

    def __init__(
        self, members: tuple[str, ...], *, room: int = 2, attempts: int = 4, work_timeout_s: float = 600.0
    ) -> None:
        if not members:
            raise UnknownAgentError("A coordinator needs at least one member to give work to.")
        self._members, self._room, self._attempts, self._timeout_s = members, room, attempts, work_timeout_s
        self._runs: dict[str, PlanRun] = {}
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._askers: Counter[asyncio.Task[Any]] = Counter()

    async def on_message(self, body: Any) -> Any:
        """Run a plan to its end."""
        if not isinstance(body, RunPlan):
            return await super().on_message(body)
        while (task := self._tasks.get(body.run_id)) is not None and task.cancelling():
            await asyncio.wait((task,))  # two drivers of one journal would fight
        if task is None:
            task = asyncio.get_running_loop().create_task(self._drive(body))
            self._tasks[body.run_id] = task
            task.add_done_callback(lambda _: self._forget(body.run_id))
        self._askers[task] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._askers[task] -= 1
            if not self._askers[task]:
                del self._askers[task]
                task.cancel()  # nobody waits for it any more; no effect on one that is done

    async def on_control(self, body: Any) -> Any:
        """Answer progress, or cancel."""
        match body:
            case GetProgress(run_id):
                return dict(self._run(run_id).progress)
            case CancelPlan(run_id, reason):
                await self._run(run_id).cancel(reason)
                return True
            case _:
                return await super().on_control(body)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, journals are closed
        """Stop driving; what a plan has journalled stays and can be resumed."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def details(self) -> Mapping[str, Any]:
        """Return the progress of every run."""
        return {"runs": {run_id: dict(run.progress) for run_id, run in self._runs.items()}}

    async def _drive(self, order: RunPlan) -> Any:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"plan-{order.run_id}") as thread:
            loop = asyncio.get_running_loop()
            plan = await loop.run_in_executor(thread, lambda: order.build(**order.kwargs))
            run = PlanRun(
                order.run_id,
                plan,
                thread,
                self.context,
                members=self._members,
                room=self._room,
                attempts=self._attempts,
                work_timeout_s=self._timeout_s,
            )
            self._runs[order.run_id] = run
            return await run.drive()

    def _run(self, run_id: str) -> PlanRun:
        if run_id not in self._runs:
            raise UnknownAgentError(f"No plan {run_id!r} runs here. Running: {', '.join(self._runs) or 'none'}.")
        return self._runs[run_id]

    def _forget(self, run_id: str) -> None:
        self._tasks.pop(run_id, None)
        self._runs.pop(run_id, None)
