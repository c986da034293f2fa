"""The coordinator agent: a team, and the runs of plans over it; answers for them at any moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dspex_agents.agent import Agent
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.supervision.child_spec import ChildSpec, SupervisorSpec
from dspex_agents.supervision.registry import Query
from dspex_agents.teamwork.announcer import Announcement, Announcer
from dspex_agents.teamwork.membership import Membership
from dspex_agents.teamwork.run_messages import (
    CancelPlan,
    CancelRun,
    CoordinationMetrics,
    DistributeTask,
    GetCoordinationMetrics,
    GetProgress,
    GetRunStatus,
    ListRuns,
    PauseRun,
    RegisterMembers,
    ResumeRun,
    RunPlan,
    StartPlan,
    UnregisterMembers,
)
from dspex_agents.teamwork.runs import Runs, RunsSettings
from dspex_agents.teamwork.team import Team, WorkSettings

__all__ = ["CancelPlan", "CoordinatorAgent", "GetProgress", "RunPlan", "coordinator_children"]

_WORK, _RUNS = WorkSettings(), RunsSettings()


class CoordinatorAgent(Agent):
    """Runs plans over a team, each in a light agent of its own, so that nothing ever keeps it from answering.

    The team are the agents of `members`, those that fit `query`, whenever they come, and those registered later on.
    Registered ones are forgotten when the coordinator's process dies; those of `members` and `query` are not.

    Messages: `RunPlan`, `StartPlan`, `DistributeTask`, `RegisterMembers`, `UnregisterMembers`. Control messages:
    `GetProgress`, `GetRunStatus`, `ListRuns`, `PauseRun`, `ResumeRun`, `CancelRun`, `CancelPlan`,
    `GetCoordinationMetrics`. What happens is announced on the signal bus of that name, if there is one.
    """

    capabilities = frozenset({"coordination"})
    concurrency = 1000  # nearly all of them wait for the result of a run

    def __init__(
        self,
        members: tuple[str, ...] = (),
        *,
        query: Query | None = None,
        work: WorkSettings = _WORK,
        runs: RunsSettings = _RUNS,
        bus: str | None = None,
        ids: IdSource | None = None,
    ) -> None:
        self._team, self._work, self._settings, self._bus = Team(tuple(members), query), work, runs, bus
        self._ids = ids or RandomIds()
        self._checks: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Find the runs that an earlier incarnation left; begin to look after the team."""
        context = self.context
        self._announcer = announcer = Announcer(context, self._bus, self._ids)
        self._members = Membership(self._team, context, self._work, announcer, self._ids)
        self._runs = Runs(context, self._settings, self._work, announcer, lambda: self._members.team)
        await self._runs.adopt()
        self._checks = asyncio.get_running_loop().create_task(self._check_members())

    async def on_message(self, body: Any) -> Any:
        """Run plans, distribute tasks, change the team."""
        match body:
            case RunPlan():
                return await self._runs.result(body)
            case StartPlan():
                run_id = self._ids.new("run") if body.run_id is None else body.run_id
                return await self._runs.start(RunPlan(run_id, body.build, body.kwargs, body.share))
            case DistributeTask():
                return await self._members.distribute(body)
            case RegisterMembers():
                answer = await self._members.register(body)
                await self._runs.spread_team()
                return answer
            case UnregisterMembers():
                gone = self._members.unregister(body)
                await self._runs.spread_team()
                return gone
            case _:
                return await super().on_message(body)

    async def on_control(self, body: Any) -> Any:
        """Answer for runs and team; pause, resume and cancel."""
        match body:
            case GetProgress(run_id):
                return dict((await self._runs.status(run_id)).progress)
            case GetRunStatus(run_id):
                return await self._runs.status(run_id)
            case ListRuns():
                every = (*self._runs.index.ended.values(), *await self._runs.statuses())
                return tuple(replace(status, results={}, result=None) for status in every)
            case PauseRun(run_id):
                return await self._tell(run_id, body, "workflow_paused")
            case ResumeRun(run_id):
                return await self._tell(run_id, body, "workflow_resumed")
            case CancelRun(run_id) | CancelPlan(run_id):
                return await self._cancel(run_id, body)
            case GetCoordinationMetrics():
                return await self._metrics()
            case _:
                return await super().on_control(body)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - whatever the reason, runs are let go of
        """Let go of the runs; their journals stay."""
        if self._checks is not None:
            self._checks.cancel()
        await self._runs.close()

    def details(self) -> Mapping[str, Any]:
        """Return the runs under way with their agents, how the others ended, and the team."""
        ended = Counter(status.status for status in self._runs.index.ended.values())
        return {
            "runs": {run_id: entry.agent for run_id, entry in self._runs.index.under_way.items()},
            "ended": dict(ended),
            "team": list(self._members.pool.names()),
        }

    async def _tell(self, run_id: str, body: PauseRun | ResumeRun, said: Announcement) -> bool:
        await self._runs.tell(run_id, body)
        await self._announcer.announce(said, run_id=run_id)
        return True

    async def _cancel(self, run_id: str, body: CancelRun | CancelPlan) -> bool:
        if run_id not in self._runs.index.under_way and run_id in self._runs.index.ended:
            return False
        await self._runs.tell(run_id, body)
        return True

    async def _metrics(self) -> CoordinationMetrics:
        team = self._members.pool.figures(self.context.clock.monotonic())
        return self._runs.index.metrics(self._members.tasks, team, await self._runs.statuses())

    async def _check_members(self) -> None:
        while True:
            await asyncio.sleep(self._settings.check_s)
            if await self._members.drop_dead():
                await self._runs.spread_team()


def coordinator_children(
    name: str = "coordinator", members: tuple[str, ...] = (), *, runs: RunsSettings = _RUNS, **options: Any
) -> tuple[SupervisorSpec, ChildSpec]:
    """Return a supervisor for runs (named by `runs.supervisor`, otherwise "runs") and a coordinator that uses it.

    `options` are those of CoordinatorAgent. In this order in a tree, the coordinator stops before its runs.
    """
    supervisor = runs.supervisor or "runs"
    kwargs = {"members": members, "runs": replace(runs, supervisor=supervisor), **options}
    return SupervisorSpec(id=supervisor), ChildSpec(id=name, start=CoordinatorAgent, kwargs=kwargs, host=runs.host)
