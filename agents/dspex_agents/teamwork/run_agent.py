"""The light agent of one run: drives its plan, and answers for it at any moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dspex_agents.agent import Agent, AgentExit
from dspex_agents.ids import RandomIds
from dspex_agents.roles.plan_run import PlanRun
from dspex_agents.teamwork.announcer import Announcer
from dspex_agents.teamwork.member_pool import MemberPool
from dspex_agents.teamwork.run_messages import (
    CancelPlan,
    CancelRun,
    GetProgress,
    GetRunStatus,
    PauseRun,
    ResumeRun,
    RunPlan,
    RunStatus,
)
from dspex_agents.teamwork.team import Team, WorkSettings


@dataclass(frozen=True, slots=True)
class Drive:
    """Run the plan of the order with this team to its end and answer with its result; joins when it is under way.

    Without an order it only joins. `owner` is the incarnation of the coordinator that asks.
    """

    order: RunPlan | None
    team: Team
    owner: int


@dataclass(frozen=True, slots=True)
class EndRun:
    """End the agent; the plan is closed. An owner that is no longer the latest one is not listened to."""

    owner: int


@dataclass(frozen=True, slots=True)
class SetTeam:
    """Control: work with this team from now on."""

    team: Team


@dataclass(frozen=True, slots=True)
class KeepRun:
    """Control: the run goes on although nobody may ask for its result."""


class RunAgent(Agent):
    """Drives one plan. It is temporary: when it dies its run is lost, and resumed by asking for it again."""

    capabilities = frozenset({"run"})
    concurrency = 1000  # each waits for the result

    def __init__(self, run_id: str, work: WorkSettings, bus: str | None = None, *, awaited: bool = True) -> None:
        self._run_id, self._work, self._bus, self._awaited = run_id, work, bus, awaited
        self._owner = self._waiting = 0
        self._task: asyncio.Task[Any] | None = None
        self._started_at = 0.0
        self._ended_at: float | None = None

    async def on_start(self) -> None:
        """Get ready; the plan begins with `Drive`."""
        context = self.context
        self._started_at = context.clock.now()
        pool = MemberPool(self._work, random.Random(f"{self._work.seed}:{self._run_id}"))  # noqa: S311 - balance
        announcer = Announcer(context, self._bus, RandomIds())
        self._run = PlanRun(self._run_id, context, pool, self._work, announcer)

    async def on_message(self, body: Any) -> Any:
        """Run the plan to its end, or end."""
        match body:
            case Drive():
                return await self._drive(body)
            case EndRun(owner):
                if owner >= self._owner:
                    raise AgentExit("normal")
                return None
            case _:
                return await super().on_message(body)

    async def on_control(self, body: Any) -> Any:  # noqa: PLR0911 - a table: one line, one return
        """Answer where the run stands; pause, resume or cancel it."""
        match body:
            case GetRunStatus():
                return self.status()
            case GetProgress():
                return dict(self._run.progress)
            case PauseRun():
                return self._run.pause()
            case ResumeRun():
                return self._run.resume()
            case CancelPlan(_, reason):
                return self._run.cancel(reason)
            case CancelRun(_, reason):
                return self._run.cancel(reason, at_members=True)
            case SetTeam(team):
                return await self._run.set_team(team)
            case KeepRun():
                self._awaited = False
                return None
            case _:
                return await super().on_control(body)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, the plan is closed
        """Stop driving; what a plan has journalled stays and can be resumed."""
        if self._task is not None:
            if not self._task.cancelling():
                self._task.cancel()
            await asyncio.wait((self._task,))

    def details(self) -> Mapping[str, Any]:
        """Return the run's status and its plan's progress."""
        status = self.status()
        shown: dict[str, Any] = {"run": status.run_id, "status": status.status, "in_flight": status.in_flight}
        shown |= {"units_done": status.units_done, "units_failed": status.units_failed, "stalled": status.stalled}
        return shown | {"assigned": dict(status.assigned), "progress": dict(status.progress)}

    def status(self) -> RunStatus:
        """Return where the run stands; its result is the answer to `Drive`."""
        run = self._run
        return RunStatus(
            run_id=self._run_id,
            status=run.phase,
            agent=self.context.name,
            started_at=self._started_at,
            ended_at=self._ended_at,
            percent=100.0 if run.phase == "completed" else run.progress.get("percent"),
            progress=dict(run.progress),
            assigned=dict(run.assigned),
            results=run.results(),
            reason=run.cancelled or run.error,
            stalled=run.stalled,
            awaited=self._awaited,
            in_flight=run.in_flight,
            units_done=run.units_done,
            units_failed=run.units_failed,
            members=run.pool.figures(self.context.clock.monotonic()),
        )

    async def _drive(self, body: Drive) -> Any:
        self._owner = max(self._owner, body.owner)
        if self._task is None:
            if body.order is None:
                raise AgentExit("normal")  # restarted with its neighbours: nobody knows any more of what
            self._task = asyncio.get_running_loop().create_task(self._run_to_end(body.order, body.team))
        self._waiting += 1
        try:
            return await asyncio.shield(self._task)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._task.cancel()  # no effect on one that is done; otherwise this agent is being stopped or killed

    async def _run_to_end(self, order: RunPlan, team: Team) -> Any:
        try:
            return await self._run.drive(partial(order.build, **order.kwargs), team)
        finally:
            self._ended_at = self.context.clock.now()
