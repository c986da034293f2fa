"""A coordinator's team: who is in it, who is taken in and dropped while it works, and one unit given at a time."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from typing import Any

from dspex_agents.agent import AgentContext
from dspex_agents.errors import AgentSystemError, SystemStoppedError, UnknownAgentError
from dspex_agents.ids import IdSource
from dspex_agents.messaging.message import GetStatus
from dspex_agents.roles.plan import Work
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError
from dspex_agents.teamwork.announcer import Announcer
from dspex_agents.teamwork.dispatch import Dispatch
from dspex_agents.teamwork.member_pool import MemberPool
from dspex_agents.teamwork.run_messages import DistributeTask, MembersRegistered, RegisterMembers, UnregisterMembers
from dspex_agents.teamwork.team import Team, WorkSettings

_log = logging.getLogger(__name__)
_STATUS_TIMEOUT_S = 5.0


class Membership:
    """The team of one coordinator. Its pool counts what `distribute` gives; each run has a pool of its own."""

    def __init__(
        self, team: Team, context: AgentContext, settings: WorkSettings, announcer: Announcer, ids: IdSource
    ) -> None:
        self.team, self.tasks = team, 0
        self.pool = MemberPool(settings, random.Random(f"{settings.seed}:{context.name}"))  # noqa: S311 - balance
        self._context, self._settings, self._announcer, self._ids = context, settings, announcer, ids
        self._looked_at: float | None = None
        self.pool.set_names(team.names)

    async def register(self, order: RegisterMembers) -> MembersRegistered:
        """Take in those that run and have the capabilities; report the others. Raises what `context.find` raises."""
        known = {r.name: r.capabilities for r in await Team(order.names).registrations(self._context)}
        failed: dict[str, str] = {}
        for name in order.names:
            if name not in known:
                failed[name] = "no agent of this name is running"
            elif not known[name]:
                failed[name] = "it declares no capabilities"
            elif lacking := order.capabilities - known[name]:
                failed[name] = f"it lacks {', '.join(sorted(lacking))}"
        good = tuple(name for name in order.names if name not in failed)
        self.team = replace(self.team, names=tuple(dict.fromkeys((*self.team.names, *good))))
        await self.refresh()
        if good:
            await self._announcer.announce("members_registered", members=list(good))
        return MembersRegistered(good, failed)

    def unregister(self, order: UnregisterMembers) -> tuple[str, ...]:
        """Drop members by name; one that fits the team's query comes back with the next look at the registry."""
        gone = tuple(name for name in order.names if name in self.team.names)
        self.team = replace(self.team, names=tuple(name for name in self.team.names if name not in gone))
        for name in gone:
            self.pool.drop(name)
        return gone

    async def refresh(self) -> None:
        """Learn from the registry who came and went, and how loaded they are."""
        try:
            known = await self.team.registrations(self._context)
        except (AgentSystemError, TimeoutError, PortDiedError, PortUnavailableError) as error:
            _log.warning("coordinator %r could not look its team up: %s", self._context.name, error)
            return
        self._looked_at = self._context.clock.monotonic()
        changes = self.pool.update(self.team, known)
        if changes.left:
            await self._announcer.announce("dead_members_removed", members=list(changes.left))

    async def drop_dead(self) -> bool:
        """Look the team up and drop members that will not come back; say whether there were any."""
        await self.refresh()
        dead = [name for name, was_known in self.pool.unknown().items() if await self._is_dead(name, was_known)]
        if not dead:
            return False
        for name in dead:
            self.pool.drop(name, for_good=True)
        self.team = replace(self.team, names=tuple(name for name in self.team.names if name not in dead))
        _log.warning("coordinator %r drops %s: dead for good", self._context.name, ", ".join(dead))
        await self._announcer.announce("dead_members_removed", members=dead)
        return True

    async def distribute(self, order: DistributeTask) -> Any:
        """Have a capable member do one unit and return its answer.

        Raises NoCapableMemberError, or the last error when all attempts failed.
        """
        now = self._context.clock.monotonic()
        if self._looked_at is None or now - self._looked_at >= self._settings.refresh_s or not self._can(order):
            await self.refresh()
        id_ = self._ids.new("task")
        work = Work(id_, order.payload, affinity=order.affinity, needs=order.needs, timeout_s=order.timeout_s)
        lease = self.pool.take(work, self._context.clock.monotonic(), room=False)
        if lease is None:
            await self._announcer.announce("no_suitable_agents", task=id_, needs=sorted(order.needs))
            raise self.pool.shortage(order.needs)
        self.tasks += 1
        await self._announcer.announce("task_distributed", task=id_, member=lease.name)
        dispatch = Dispatch(self._context.name, self._context, self.pool, self._settings, self._recovered)
        performed = await dispatch.perform(work, lease)
        if performed.error is not None:
            raise performed.error
        return performed.outcome.value

    def _can(self, order: DistributeTask) -> bool:
        return self.pool.is_capable(order.needs)

    async def _is_dead(self, name: str, was_known: bool) -> bool:  # noqa: FBT001 - passed on from a table
        try:
            await self._context.ask(name, GetStatus(), control=True, timeout_s=_STATUS_TIMEOUT_S)
        except SystemStoppedError:
            return True
        except UnknownAgentError:
            return was_known  # otherwise it is still to come
        except AgentSystemError:
            return False  # it is being restarted, or does not answer now
        return False

    async def _recovered(self, work: Work, member: str, attempt: int) -> None:
        await self._announcer.announce("task_recovered", task=work.id, member=member, attempt=attempt)
