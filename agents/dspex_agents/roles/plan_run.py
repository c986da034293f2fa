"""One plan under way: pulls work, gives it to members, pushes back what came of it. No barrier anywhere."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentSystemError, MessageError
from dspex_agents.roles.plan import Failure, Outcome, Plan, Work
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError
from dspex_agents.teamwork.announcer import Announcer
from dspex_agents.teamwork.dispatch import Dispatch, cancel_at
from dspex_agents.teamwork.member_pool import Lease, MemberPool
from dspex_agents.teamwork.plan_thread import PlanThread
from dspex_agents.teamwork.run_messages import RunPhase
from dspex_agents.teamwork.team import Team, WorkSettings

_log = logging.getLogger(__name__)
Sleep = Callable[[float], Awaitable[None]]


class PlanStalledError(MessageError):
    """The plan is not finished, has nothing in flight and offers no work."""


class PlanRun:
    """Drives one plan over the members of a pool.

    `pause`, `resume` and `cancel` take effect at once for what is not begun, and never wait for the plan.
    """

    def __init__(
        self,
        run_id: str,
        context: AgentContext,
        pool: MemberPool,
        settings: WorkSettings,
        announcer: Announcer,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.run_id, self.pool = run_id, pool
        self.progress: Mapping[str, Any] = {}
        self.assigned: Counter[str] = Counter()
        self.units_done = self.units_failed = 0
        self.stalled = False
        self.error = ""
        self._context, self._settings, self._announcer, self._sleep = context, settings, announcer, sleep
        self._plan = PlanThread(run_id)
        self._dispatch = Dispatch(run_id, context, pool, settings, self._recovered)
        self._team = Team()
        self._phase: RunPhase = "initializing"
        self._paused = False
        self._cancelled: str | None = None  # why
        self._untold: str | None = None  # the same, until the plan has heard it
        self._backlog: deque[Work] = deque()
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._outcomes: list[Outcome] = []
        self._wake = asyncio.Event()
        self._broken: BaseException | None = None
        self._cancels: set[asyncio.Task[Any]] = set()
        self._last_unit_at = context.clock.monotonic()
        self._again_s: float | None = None  # a plan that wants to be visited though nothing happens
        self._short_since: dict[frozenset[str], float] = {}

    # life ---------------------------------------------------------------------------------------------------------
    async def drive(self, build: Callable[[], Plan], team: Team) -> Any:
        """Run the plan that `build` makes to its end, once, and return its result; raises what the plan raises.

        Raises PlanStalledError, and NoCapableMemberError when nobody came who can do a unit.
        """
        watch: set[asyncio.Task[Any]] = set()
        self._spawn(watch, self._look_around())
        self._spawn(watch, self._visit_again())
        try:
            await self.set_team(team)
            await self._plan.open(build)
            self._phase = "running"
            result = await self._go_on()
        except asyncio.CancelledError:
            self._phase = "cancelled"
            raise
        except BaseException as error:
            self._phase, self.error = "failed", f"{type(error).__name__}: {error}"
            raise
        else:
            self._phase = "completed"
            return result
        finally:
            if self._cancelled is not None:
                self._phase = "cancelled"
            for task in (*self._in_flight, *watch):
                task.cancel()
            await self._plan.close()

    async def set_team(self, team: Team) -> None:
        """Work with this team from now on."""
        self._team = team
        self.pool.set_names(team.names)
        await self._refresh()
        self._wake.set()

    @property
    def phase(self) -> RunPhase:
        """Where the run stands."""
        return "paused" if self._paused and self._phase in ("initializing", "running") else self._phase

    @property
    def in_flight(self) -> int:
        """How many units are with members now."""
        return len(self._in_flight)

    @property
    def cancelled(self) -> str:
        """Why the run was cancelled; empty when it was not."""
        return self._cancelled or ""

    def results(self) -> Mapping[str, Any]:
        """Return the values of units done so far, where the plan shows them."""
        return self._plan.results()

    def pause(self) -> None:
        """Give no more units to members; what is with them goes on."""
        self._paused = True

    def resume(self) -> None:
        """Give units to members again."""
        self._paused, self._last_unit_at = False, self._context.clock.monotonic()
        self._wake.set()

    def cancel(self, reason: str, *, at_members: bool = False) -> None:
        """Tell the plan to hand out no more work. What is with members is awaited, or with `at_members` stopped there.

        A unit that was pulled and not done goes back to the plan as a retryable failure.
        """
        if self._cancelled is None:
            self._cancelled = self._untold = reason
        withdrawn, self._backlog = self._backlog, deque()
        for work in withdrawn:
            self._note(_withdrawn(work, reason))
        if at_members:
            asked = self._dispatch.asked().values()
            for task in self._in_flight:
                task.cancel()
            self._spawn(self._cancels, cancel_at(self._context, asked))
        self._wake.set()

    # the loop -----------------------------------------------------------------------------------------------------
    async def _go_on(self) -> Any:
        while True:
            if await self._visit():
                return await self._plan.result()
            await self._place()
            if self._again_s is None and not (self._in_flight or self._backlog or self._paused or self._wake.is_set()):
                raise PlanStalledError(f"Plan {self.run_id!r} is not finished but offers no work.")
            await self._wake.wait()
            self._wake.clear()
            if self._broken is not None:
                raise self._broken

    async def _visit(self) -> bool:
        outcomes, self._outcomes = self._outcomes, []
        reason, self._untold = self._untold, None
        turn = await self._plan.visit(outcomes, self._limit(), self._context.clock.now(), reason)
        self.progress, self._again_s = turn.progress, turn.again_s
        self._backlog.extend(turn.work)
        return turn.finished

    def _limit(self) -> int:
        """Return how many more units to take: as many as there is room for; with nobody there one, to see its needs."""
        if self._paused:
            return 0
        least = 0 if self._in_flight or self._backlog else 1
        # units that wait for one capability must not keep away those that others could do, up to a bound
        return max(least, min(self.pool.free_slots(), self.pool.slots() - len(self._backlog)))

    async def _place(self) -> None:
        """Give units to members with room; the rest stays. Raises NoCapableMemberError for what waited too long."""
        if self._paused:
            return
        now = self._context.clock.monotonic()
        full: set[frozenset[str]] = set()
        kept: deque[Work] = deque()
        for work in self._backlog:
            twin = None if work.apart_from is None else self._dispatch.asked().get(work.apart_from)
            avoid = None if twin is None else twin[0]
            lease = None if work.needs in full else self.pool.take(work, now, avoid=avoid)
            if lease is None:
                full.add(work.needs)
                kept.append(work)
            else:
                self.assigned[lease.name] += 1
                self._spawn(self._in_flight, self._give(work, lease))
        self._backlog = kept
        await self._check_shortage([needs for needs in full if not self.pool.is_capable(needs)], now)

    async def _check_shortage(self, lacking: list[frozenset[str]], now: float) -> None:
        self._short_since = {needs: self._short_since.get(needs, now) for needs in lacking}
        for needs, since in self._short_since.items():
            if now - since >= self._settings.member_wait_s:
                await self._announcer.announce("no_suitable_agents", run_id=self.run_id, needs=sorted(needs))
                raise self.pool.shortage(needs)

    async def _give(self, work: Work, lease: Lease) -> None:
        try:
            outcome = (await self._dispatch.perform(work, lease)).outcome
        except asyncio.CancelledError:
            if self._cancelled is None:
                raise
            outcome = _withdrawn(work, self._cancelled)
        if (task := asyncio.current_task()) is not None:
            self._in_flight.discard(task)
        self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self.units_done += outcome.error is None
        self.units_failed += outcome.error is not None
        self.stalled, self._last_unit_at = False, self._context.clock.monotonic()
        self._wake.set()

    # beside it ----------------------------------------------------------------------------------------------------
    async def _look_around(self) -> None:
        """Learn who came and went, and notice when nothing gets done."""
        while True:
            await self._sleep(self._settings.refresh_s)
            await self._refresh()
            await self._check_stall()
            if self._backlog:
                self._wake.set()

    async def _visit_again(self) -> None:
        while True:
            await self._sleep(self._settings.refresh_s if self._again_s is None else self._again_s)
            if self._again_s is not None:
                self._wake.set()

    async def _refresh(self) -> None:
        try:
            known = await self._team.registrations(self._context)
        except (AgentSystemError, TimeoutError, PortDiedError, PortUnavailableError) as error:
            _log.warning("run %r could not look its team up, and goes on with who it knows: %s", self.run_id, error)
            return
        if self.pool.update(self._team, known).joined:
            self._wake.set()

    async def _check_stall(self) -> None:
        idle_s = self._context.clock.monotonic() - self._last_unit_at
        if self.stalled or self.phase != "running" or idle_s < self._settings.stall_s:
            return
        self.stalled = True
        _log.warning("run %r: no unit was finished for %.0f s, %d are in flight", self.run_id, idle_s, self.in_flight)
        await self._announcer.announce(
            "stalled_workflows_detected", run_id=self.run_id, idle_s=idle_s, in_flight=self.in_flight
        )

    async def _recovered(self, work: Work, member: str, attempt: int) -> None:
        self.assigned[member] += 1
        await self._announcer.announce(
            "task_recovered", run_id=self.run_id, task=work.id, member=member, attempt=attempt
        )

    def _spawn(self, tasks: set[asyncio.Task[Any]], coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, tasks))

    def _ended(self, task: asyncio.Task[Any], tasks: set[asyncio.Task[Any]]) -> None:
        tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = error  # a defect of ours or of the runtime: it must not go unnoticed
            self._wake.set()


def _withdrawn(work: Work, reason: str) -> Outcome:
    text = f"The run was cancelled: {reason}."
    return Outcome(work.id, error=Failure("infrastructure", "RunCancelled", text, retryable=True))
