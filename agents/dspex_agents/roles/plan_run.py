"""One plan under way: pulls work, gives it to members, pushes back what came of it. No barrier anywhere."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentFailedError, AgentSystemError, MessageError
from dspex_agents.roles.plan import Failure, Outcome, Plan, Work

_Result = TypeVar("_Result")


class PlanStalledError(MessageError):
    """The plan is not finished, has nothing in flight and offers no work."""


class PlanRun:
    """Drives one plan over members. The plan's methods run on `thread`, one at a time, off the event loop."""

    def __init__(
        self,
        run_id: str,
        plan: Plan,
        thread: Executor,
        context: AgentContext,
        *,
        members: Sequence[str],
        room: int,
        attempts: int,
        work_timeout_s: float,
    ) -> None:
        self.progress: Mapping[str, Any] = {}
        self._run_id, self._plan, self._thread, self._context = run_id, plan, thread, context
        self._members, self._room, self._attempts, self._timeout_s = tuple(members), room, attempts, work_timeout_s
        self._load = dict.fromkeys(self._members, 0)
        self._in_flight: set[asyncio.Task[Outcome]] = set()
        self._tries: Counter[str] = Counter()

    async def drive(self) -> Any:
        """Run the plan to its end and return its result; raises what the plan raises."""
        try:
            await self._on_thread(self._plan.open)
            await self._refresh()
            while not await self._on_thread(self._plan.finished):
                await self._fill()
                if not self._in_flight:
                    if await self._on_thread(self._plan.finished):
                        break  # it was cancelled, or found out in `pull` that nothing is left
                    raise PlanStalledError(f"Plan {self._run_id!r} is not finished but offers no work.")
                await self._collect()
            return await self._on_thread(self._plan.result)
        finally:
            for task in self._in_flight:
                task.cancel()
            await self._on_thread(self._plan.close)

    async def cancel(self, reason: str) -> None:
        """Tell the plan to hand out no more work."""
        await self._on_thread(self._plan.cancel, reason)

    async def _fill(self) -> None:
        free = len(self._members) * self._room - len(self._in_flight)
        if free <= 0:
            return
        for work in await self._on_thread(self._plan.pull, free, self._context.clock.now()):
            member = choose_member(work, self._load, self._room)
            self._load[member] += 1  # counted when given out: the next choice must see it
            self._in_flight.add(asyncio.get_running_loop().create_task(self._perform(work, member)))

    async def _collect(self) -> None:
        done, self._in_flight = await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        outcomes = [task.result() for task in done]
        await self._on_thread(self._plan.push, outcomes, self._context.clock.now())
        await self._refresh()

    async def _refresh(self) -> None:
        self.progress = await self._on_thread(self._plan.progress)

    async def _perform(self, work: Work, member: str) -> Outcome:
        started = self._context.clock.monotonic()
        error: AgentSystemError | None = None
        for attempt in range(self._attempts):
            if attempt:
                self._load[member] -= 1
                member = choose_member(work, self._load, self._room, avoid=member)
                self._load[member] += 1
            self._tries[work.id] += 1  # never an old key: a member answers that with what came of it the first time
            key = f"{self._run_id}:{work.id}:{self._tries[work.id]}"
            try:
                value = await self._context.ask(member, work.payload, timeout_s=self._timeout_s, key=key)
            except AgentFailedError as failure:
                error = failure
                if not _retryable(failure):
                    break
            except AgentSystemError as failure:
                error = failure
            else:
                self._load[member] -= 1
                return Outcome(work.id, value, None, member, self._context.clock.monotonic() - started)
        self._load[member] -= 1
        took = self._context.clock.monotonic() - started
        return Outcome(work.id, None, _failure(error), member, took)

    async def _on_thread(self, method: Callable[..., _Result], *args: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, method, *args)


def choose_member(work: Work, load: Mapping[str, int], room: int, avoid: str | None = None) -> str:
    """Choose who does the work: its affinity's own member while that one has room, otherwise the least loaded.

    Affinity is rendezvous hashing (Thaler and Ravishankar, 1998): a member that leaves moves only its own work.
    """
    candidates = [name for name in load if name != avoid] or list(load)
    if work.affinity is not None:
        own = max(candidates, key=lambda name: hashlib.blake2b(f"{name}\0{work.affinity}".encode()).digest())
        if load[own] < room:
            return own
    return min(candidates, key=lambda name: (load[name], name))


def _retryable(error: AgentFailedError) -> bool:
    return bool(getattr(error.cause, "retryable", False))


def _failure(error: AgentSystemError | None) -> Failure:
    if isinstance(error, AgentFailedError):
        retryable = _retryable(error)
        return Failure(
            "infrastructure" if retryable else "program", error.error_type, error.error_text, retryable=retryable
        )
    return Failure("infrastructure", type(error).__name__, str(error), retryable=True)
