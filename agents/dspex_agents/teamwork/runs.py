"""The runs of one coordinator: each driven by a light agent of its own, started, attended and ended here."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dspex_agents.agent import AgentContext, TreeNode
from dspex_agents.errors import (
    AgentStoppedError,
    AgentSystemError,
    OutcomeUnknownError,
    SpecError,
    SystemStoppedError,
    UnknownAgentError,
)
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError
from dspex_agents.supervision.child_spec import ChildSpec
from dspex_agents.teamwork.announcer import Announcement, Announcer
from dspex_agents.teamwork.run_agent import Drive, EndRun, KeepRun, RunAgent, SetTeam
from dspex_agents.teamwork.run_index import RunEntry, RunIndex
from dspex_agents.teamwork.run_messages import GetRunStatus, RunLimitError, RunLostError, RunPhase, RunPlan, RunStatus
from dspex_agents.teamwork.team import Team, WorkSettings

_log = logging.getLogger(__name__)
_CONTROL_S = 5.0
_LOST = (OutcomeUnknownError, AgentStoppedError, SystemStoppedError, UnknownAgentError)
_OUT_OF_REACH = (AgentSystemError, TimeoutError, PortDiedError, PortUnavailableError)
_NOBODY_ASKS = "nobody asks for its result any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsSettings:
    """How a coordinator runs plans: at most `most` at once, and the last `history` kept when they have ended.

    Each run is an agent in a process of the group `host`, under `supervisor` (None: the coordinator's own one), for at
    most `timeout_s` seconds. A run that a restarted coordinator finds, and whose result nobody asks for within
    `unasked_s`, is stopped, unless it was started to go on by itself. Every `check_s` dead members are looked for.
    """

    most: int = 64
    history: int = 100
    supervisor: str | None = None
    host: str = "shared"
    timeout_s: float = 30 * 24 * 3600.0
    unasked_s: float = 30.0
    check_s: float = 30.0

    def __post_init__(self) -> None:
        for name in ("most", "history"):
            if getattr(self, name) < 1:
                raise SpecError(f"runs.{name} must be at least 1, got {getattr(self, name)!r}.")
        for name in ("timeout_s", "unasked_s", "check_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise SpecError(f"runs.{name} must be a number of seconds above 0, got {getattr(self, name)!r}.")


class Runs:
    """Starts a run agent for each plan and waits for its result. A run agent that dies touches no other run.

    Run agents outlive the coordinator: a restarted one finds them again. The name of a run's agent follows from the
    run's id, so no two ever drive the same run for one coordinator.
    """

    def __init__(
        self,
        context: AgentContext,
        settings: RunsSettings,
        work: WorkSettings,
        announcer: Announcer,
        team: Callable[[], Team],
    ) -> None:
        self.index = RunIndex(settings.most, settings.history)
        self._context, self._settings, self._work, self._announcer = context, settings, work, announcer
        self._team = team
        self._mark = f"run-of:{context.name}"
        self._supervisor = settings.supervisor
        self._closing = False

    # what is asked for --------------------------------------------------------------------------------------------
    async def result(self, order: RunPlan) -> Any:
        """Start the run or join it, and return its result; it stops when the last one who waits is gone."""
        entry = await self._entry(order, awaited=True)
        entry.askers += 1
        try:
            return await asyncio.shield(_task(entry))
        finally:
            entry.askers -= 1
            self._end_if_unasked(entry)

    async def start(self, order: RunPlan) -> str:
        """Start the run, or let one under way go on by itself, and return its id when its agent is up."""
        entry = await self._entry(order, awaited=False)
        await entry.opened.wait()
        if not entry.is_up:
            await asyncio.shield(_task(entry))  # raises what kept its agent from starting
        elif entry.awaited and not entry.ending:
            entry.awaited = False
            await self.tell(entry.run_id, KeepRun())
        return entry.run_id

    async def tell(self, run_id: str, body: Any) -> Any:
        """Return a run agent's answer to a control message. Raises UnknownRunError."""
        entry = self.index.entry(run_id)
        async with asyncio.timeout(_CONTROL_S):
            await entry.opened.wait()
        return await self._context.ask(entry.agent, body, control=True, timeout_s=_CONTROL_S)

    async def status(self, run_id: str) -> RunStatus:
        """Return where a run stands, under way or ended. Raises UnknownRunError."""
        if run_id not in self.index.under_way and run_id in self.index.ended:
            return self.index.ended[run_id]
        return await self._status(self.index.entry(run_id))

    async def statuses(self) -> list[RunStatus]:
        """Return where every run under way stands, the oldest first."""
        return list(await asyncio.gather(*(self._status(entry) for entry in list(self.index.under_way.values()))))

    async def spread_team(self) -> None:
        """Tell every run that the team has changed; one that is just being started has it already."""
        opened = [entry for entry in self.index.under_way.values() if entry.opened.is_set()]
        answers = await asyncio.gather(
            *(self.tell(entry.run_id, SetTeam(self._team())) for entry in opened), return_exceptions=True
        )
        for entry, answer in zip(opened, answers, strict=True):
            if isinstance(answer, BaseException):
                _log.info("run %r did not hear that the team has changed: %s", entry.run_id, answer)

    # life ---------------------------------------------------------------------------------------------------------
    async def adopt(self) -> None:
        """Find the runs that an earlier incarnation of the coordinator left, and attend to them."""
        try:
            left = await self._context.find(capabilities=frozenset({self._mark}))
        except _OUT_OF_REACH as error:
            _log.warning("coordinator %r could not look for runs under way: %s", self._context.name, error)
            return
        for registration in left:
            await self._adopt(registration.name)

    async def close(self) -> None:
        """Let go of every run: those whose result is awaited end, the others wait for a restarted coordinator."""
        self._closing = True
        entries = list(self.index.under_way.values())
        for entry in entries:
            if entry.awaited:
                await self._context.tell(entry.agent, EndRun(self._context.epoch))
        tasks = [_task(entry) for entry in entries]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _adopt(self, agent: str) -> None:
        try:
            status: RunStatus = await self._context.ask(agent, GetRunStatus(""), control=True, timeout_s=_CONTROL_S)
        except AgentSystemError:
            return  # it ends just now
        entry = RunEntry(status.run_id, agent, status.started_at, status.awaited)
        self._begin(entry, None)
        if entry.awaited:
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.unasked_s, self._end_if_unasked, entry)

    async def _entry(self, order: RunPlan, *, awaited: bool) -> RunEntry:
        while (entry := self.index.under_way.get(order.run_id)) is not None and entry.ending:
            await asyncio.wait((_task(entry),))  # two drivers of one journal would fight
        if entry is not None:
            return entry
        try:
            self.index.check_room(order.run_id)
        except RunLimitError:
            await self._announcer.announce("workflow_limit_exceeded", run_id=order.run_id)
            raise
        agent = f"{self._context.name}:{_safe(order.run_id)}"
        entry = RunEntry(order.run_id, agent, self._context.clock.now(), awaited)
        self._begin(entry, order)
        return entry

    def _begin(self, entry: RunEntry, order: RunPlan | None) -> None:
        self.index.add(entry)
        entry.task = asyncio.get_running_loop().create_task(self._attend(entry, order))
        entry.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may have no asker

    def _end_if_unasked(self, entry: RunEntry) -> None:
        if entry.awaited and not entry.askers and not _task(entry).done():
            entry.ending = _NOBODY_ASKS
            _task(entry).cancel()

    # one run ------------------------------------------------------------------------------------------------------
    async def _attend(self, entry: RunEntry, order: RunPlan | None) -> Any:
        phase: RunPhase = "failed"
        result, reason = None, ""
        try:
            if order is not None:
                await self._open(entry, replace(self._work, room=self._work.room * order.share))
                await self._announcer.announce("workflow_started", run_id=entry.run_id, agent=entry.agent)
            entry.is_up = True
            entry.opened.set()
            drive = Drive(order, self._team(), self._context.epoch)
            result = await self._context.ask(entry.agent, drive, timeout_s=self._settings.timeout_s)
        except asyncio.CancelledError:
            phase, reason = "cancelled", entry.ending
            raise
        except _LOST as error:
            reason = f"lost: {error}"
            raise RunLostError(
                f"Run {entry.run_id!r} was lost with its agent: {error} Ask for it again: a plan with a journal goes "
                "on from there."
            ) from error
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        else:
            phase = "completed"
            return result
        finally:
            entry.ending = entry.ending or "it has ended"
            entry.opened.set()
            if not self._closing:
                await self._conclude(entry, phase, result, reason)

    async def _open(self, entry: RunEntry, work: WorkSettings) -> None:
        spec = ChildSpec(
            id=entry.agent,
            start=RunAgent,
            kwargs={"run_id": entry.run_id, "work": work, "bus": self._announcer.bus, "awaited": entry.awaited},
            restart="temporary",
            host=self._settings.host,
            capabilities=frozenset({self._mark}),
        )
        if self._supervisor is None:
            self._supervisor = _parent_of(self._context.name, await self._context.tree())
        try:
            await self._context.start_child(self._supervisor, spec)
        except SpecError:  # an agent of this name is there still: an earlier incarnation of ours has just let go of it
            await self._context.stop_child(entry.agent)
            await self._context.start_child(self._supervisor, spec)

    async def _conclude(self, entry: RunEntry, phase: RunPhase, result: Any, reason: str) -> None:
        status = await self._status(entry)
        if status.status in ("completed", "failed", "cancelled"):
            phase = status.status
        try:
            await self._context.ask(entry.agent, EndRun(self._context.epoch), timeout_s=_CONTROL_S)
        except _LOST:
            pass  # which is what was asked for
        except AgentSystemError as error:
            _log.warning("the agent of run %r could not be stopped: %s", entry.run_id, error)
        status = replace(
            status,
            status=phase,
            ended_at=status.ended_at or self._context.clock.now(),
            result=result,
            reason=status.reason or reason,
            awaited=entry.awaited,
            percent=100.0 if phase == "completed" else status.percent,
        )
        self.index.end(status)
        said: Announcement = f"workflow_{phase}"  # type: ignore[assignment]  # the three ends have such a signal each
        await self._announcer.announce(said, run_id=entry.run_id, reason=status.reason)

    async def _status(self, entry: RunEntry) -> RunStatus:
        try:
            status: RunStatus = await self._context.ask(
                entry.agent, GetRunStatus(entry.run_id), control=True, timeout_s=_CONTROL_S
            )
        except AgentSystemError:  # its agent is not up yet, or gone already
            return RunStatus(entry.run_id, "initializing", entry.agent, entry.started_at, awaited=entry.awaited)
        return status


def _task(entry: RunEntry) -> asyncio.Task[Any]:
    if entry.task is None:
        raise RuntimeError(f"run {entry.run_id!r} was not begun")
    return entry.task


def _safe(run_id: str) -> str:
    """Return the run's id as part of an agent's name: as it is where it may be, otherwise with what tells it apart."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in run_id)
    if plain == run_id and run_id:
        return run_id
    return f"{plain}-{hashlib.blake2b(run_id.encode(), digest_size=6).hexdigest()}"


def _parent_of(name: str, node: TreeNode) -> str:
    """Return the supervisor of the agent; the top one where the tree does not show it."""
    waiting = [node]
    while waiting:
        supervisor = waiting.pop()
        if any(child.id == name for child in supervisor.children):
            return supervisor.id
        waiting += [child for child in supervisor.children if child.children]
    return node.id
