"""`ScheduleAgent`: sends agents their periodic messages, for as long as they live."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dspex_agents.database import Database
from dspex_agents.errors import (
    AgentSystemError,
    MessageError,
    SpecError,
    StoreError,
    SystemStoppedError,
    UnknownAgentError,
)
from dspex_agents.messaging.message import GetStatus
from dspex_agents.services.json_body import to_json
from dspex_agents.services.schedule import Schedule, ScheduleState, Tick, Timetable
from dspex_agents.services.schedule_store import ScheduleStore
from dspex_agents.services.service_agent import ServiceAgent
from dspex_agents.services.store_thread import StoreThread
from dspex_agents.supervision.registry import Criterion, Query

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_PROBE_TIMEOUT_S = 5.0
_MOST_IN_FLIGHT = 100


@dataclass(frozen=True, slots=True)
class RegisterSchedule:
    """Add a schedule, or change the one of its owner and id; answered with its `ScheduleState`.

    Registering the same again changes nothing, so an agent may do it whenever it starts.
    """

    schedule: Schedule


@dataclass(frozen=True, slots=True)
class UpdateInterval:
    """Send every `every_s` seconds from now on; answered with the `ScheduleState`. Not for schedules by cron."""

    owner: str
    id: str
    every_s: float


@dataclass(frozen=True, slots=True)
class FireNow:
    """Send the message at once, due or not; answered with the owner's answer, or its error."""

    owner: str
    id: str


@dataclass(frozen=True, slots=True)
class CancelSchedule:
    """Remove a schedule; answered False when there is none."""

    owner: str
    id: str


@dataclass(frozen=True, slots=True)
class GetSchedules:
    """Answer with the schedules of one owner or of all, as a tuple of `ScheduleState`."""

    owner: str | None = None


class ScheduleAgent(ServiceAgent):
    """Asks each schedule's owner with its message when it is due; at most one at a time of each schedule.

    A schedule belongs to a live agent: it waits while that is restarted, and is removed once the agent is gone for
    good (stopped for ever, unknown to the system). That shows when a tick is sent, and at the latest after `check_s`.

    With a database schedules outlive this agent's process. A tick under way when that dies is sent again, with the
    same idempotency key. Messages must then be JSON. Without one, they are lost with the process: register anew.
    All but FireNow is answered as a control message too.
    """

    capabilities = frozenset({"service", "schedule"})

    def __init__(
        self, database: Database | None = None, *, most: int = 10_000, check_s: float = 60.0, seed: int = 0
    ) -> None:
        """Take at most `most` schedules; `seed` is that of their jitter. Raises SpecError."""
        super().__init__()
        if not check_s > 0:
            raise SpecError(f"schedules: check_s must be a positive number of seconds, got {check_s}.")
        self.concurrency = 32
        self._database, self._check_s = database, check_s
        self._table = Timetable(random.Random(seed), most=most)  # noqa: S311 - jitter of times, no secret
        self._room = asyncio.Semaphore(_MOST_IN_FLIGHT)
        self._thread: StoreThread | None = None
        self._check_at = 0.0
        self._done = self._failed = self._orphaned = self._failed_checks = 0
        self._last_error = ""

    async def on_start(self) -> None:
        """Load what an earlier life left. Raises StoreError."""
        self._check_at = self.context.clock.now() + self._check_s
        if self._database is not None:
            database, name = self._database, self.context.name
            self._thread = StoreThread(f"schedules-{name}", database)
            self._store = await self._thread.call(lambda: ScheduleStore(database, name))
            self._table.restore(await self._thread.call(self._store.load))
        await super().on_start()

    def release(self) -> None:
        """Stop the timer; what is due waits for the next incarnation."""
        super().release()
        if self._thread is not None:
            self._thread.close()

    async def on_message(self, body: Any) -> Any:
        """Fire by hand; everything else is a control message too."""
        if isinstance(body, FireNow):
            return await self._deliver(self._table.fire(body.owner, body.id, self.context.clock.now()))
        return await super().on_message(body)

    async def serve(self, body: Any) -> Any:
        """Register, change, cancel, tell."""
        now = self.context.clock.now()
        match body:
            case RegisterSchedule(schedule):
                if self._thread is not None:
                    to_json(schedule.message)
                return await self._changed(self._table.put(schedule, now))
            case UpdateInterval(owner, id_, every_s):
                return await self._changed(self._table.set_interval(owner, id_, every_s, now))
            case CancelSchedule(owner, id_):
                return await self._remove(owner, id_)
            case GetSchedules(owner):
                return self._table.states(owner)
            case _:
                return await super().serve(body)

    async def tick(self) -> float:
        """Send what is due, and from time to time look for owners that are gone."""
        for tick in self._table.due(self.context.clock.now()):
            self.spawn(self._deliver_due(tick))
        if self.context.clock.now() >= self._check_at:
            self._check_at = math.inf  # set again by the check itself
            self.spawn(self._check_owners())
        next_at = self._table.next_at()
        return (self._check_at if next_at is None else min(self._check_at, next_at)) - self.context.clock.now()

    def details(self) -> Mapping[str, Any]:
        """Return how many schedules there are, the ticks done, failed, missed and under way, and the last error."""
        states = self._table.states()
        return {
            "schedules": len(states),
            "next_at": self._table.next_at(),
            "done": self._done,
            "failed": self._failed,
            "missed": sum(state.missed for state in states),
            "under_way": sum(state.under_way for state in states),
            "orphaned": self._orphaned,
            "failed_checks": self._failed_checks,
            "last_error": self._last_error,
        }

    # ticks --------------------------------------------------------------------------------------------------------
    async def _deliver_due(self, tick: Tick) -> None:
        owner = tick.schedule.owner
        try:
            async with self._room:
                await self._deliver(tick)
        except (UnknownAgentError, SystemStoppedError):  # of the owner, or of somebody whom the owner asked
            if await self._is_gone(owner):
                await self._orphan(owner)
        except MessageError:
            pass  # counted and told in the schedule's state

    async def _deliver(self, tick: Tick) -> Any:
        schedule = tick.schedule
        try:
            answer = await self.context.ask(
                schedule.owner,
                schedule.message,
                timeout_s=schedule.timeout_s,
                key=tick.key,
                retry_safe=schedule.retry_safe,
            )
        except (MessageError, SystemStoppedError) as error:
            await self._settle(tick, f"{type(error).__name__}: {error}")
            raise
        except asyncio.CancelledError:  # nothing is noted in the database: one cut off by our end is due again
            self._table.settle(tick, self.context.clock.now(), "cut off")
            raise
        await self._settle(tick, "")
        return answer

    async def _settle(self, tick: Tick, failure: str) -> None:
        if failure:
            self._failed += 1
            self._last_error = f"{tick.schedule.owner}/{tick.schedule.id}: {failure}"
            _log.warning("schedule %r of agent %r: %s", tick.schedule.id, tick.schedule.owner, failure)
        else:
            self._done += 1
        state = self._table.settle(tick, self.context.clock.now(), failure or None)
        if state is not None and self._thread is not None:
            await self._in_store(lambda: self._store.save(state))

    # owners -------------------------------------------------------------------------------------------------------
    async def _check_owners(self) -> None:
        try:
            for owner in await self._unregistered():
                if await self._is_gone(owner):
                    await self._orphan(owner)
        except (AgentSystemError, TimeoutError) as error:  # nobody is known to be gone by that
            self._failed_checks += 1
            self._last_error = f"{type(error).__name__}: {error}"
            _log.warning("%r could not look for its owners: %s", self.context.name, self._last_error)
        self._check_at = self.context.clock.now() + self._check_s
        self.wake()

    async def _unregistered(self) -> list[str]:
        owners = frozenset(self._table.owners())
        if not owners:
            return []
        found = await self.context.find(Query(where=(Criterion("name", "in", owners),)))
        return sorted(owners - {registration.name for registration in found})

    async def _is_gone(self, owner: str) -> bool:
        """Say whether the agent is gone for good; one that is being restarted is not, nor is anybody if all stops."""
        try:
            await self.context.ask(owner, GetStatus(), control=True, timeout_s=_PROBE_TIMEOUT_S)
        except UnknownAgentError:
            return True
        except SystemStoppedError:
            return await self._is_removed(owner)
        except MessageError:
            return False
        return False

    async def _is_removed(self, owner: str) -> bool:
        try:
            tree = await self.context.tree()
        except (AgentSystemError, TimeoutError):
            return False
        here = {node.id for node in tree.agents() if node.status != "removed"}
        return tree.status == "running" and owner not in here

    async def _orphan(self, owner: str) -> None:
        states = self._table.states(owner)
        _log.warning("agent %r is gone: its %d schedules are removed", owner, len(states))
        for state in states:
            self._orphaned += 1
            await self._remove(owner, state.schedule.id)

    # changes ------------------------------------------------------------------------------------------------------
    async def _changed(self, state: ScheduleState) -> ScheduleState:
        self.wake()
        if self._thread is not None:
            await self._in_store(lambda: self._store.save(state))
        return state

    async def _remove(self, owner: str, id_: str) -> bool:
        there = self._table.remove(owner, id_)
        if there and self._thread is not None:
            await self._in_store(lambda: self._store.delete(owner, id_))
        return there

    async def _in_store(self, work: Callable[[], _T]) -> _T:
        """Do it in the database. If that fails the agent ends: table and database must not part."""
        if self._thread is None:
            raise RuntimeError("no database")
        try:
            return await self._thread.call(work)
        except StoreError as error:
            self.fail(error)
            raise
