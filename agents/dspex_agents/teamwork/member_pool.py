"""Who does a unit of work: capable members by real load, those that keep failing left alone for a while. Pure."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dspex_agents.errors import MessageError
from dspex_agents.roles.plan import Work
from dspex_agents.services.breaker import BreakerOpen, BreakerState, CircuitBreaker, Permit
from dspex_agents.supervision.registry import Registration
from dspex_agents.teamwork.team import Team, WorkSettings

Verdict = Literal["done", "failed", "unknown"]
_MOST_REMEMBERED = 10_000


class NoCapableMemberError(MessageError):
    """Nobody in the team has all the capabilities in `needs`. `team` maps each member to those it has."""

    def __init__(self, needs: frozenset[str], team: Mapping[str, frozenset[str]]) -> None:
        super().__init__(needs, dict(team))
        self.needs, self.team = needs, dict(team)

    def __str__(self) -> str:
        wanted = f"all of {', '.join(sorted(self.needs))}" if self.needs else "the work"
        has = "; ".join(f"{name!r} has {', '.join(sorted(caps)) or 'none'}" for name, caps in sorted(self.team.items()))
        return f"No member of the team can do {wanted}. {has or 'The team is empty'}."


@dataclass(frozen=True, slots=True)
class MemberFigures:
    """One member as a run sees it: units in flight, given and failed so far, and the registry's word on its load.

    `state` is that of its breaker, or `absent` while the registry does not know it (it is being restarted) or calls it
    unhealthy.
    """

    in_flight: int
    load: float
    units: int
    failures: int
    state: BreakerState | Literal["absent"]


@dataclass(slots=True, eq=False)
class _Member:
    """One member. `capabilities` are unknown until the registry was looked at."""

    name: str
    breaker: CircuitBreaker
    capabilities: frozenset[str] | None = None
    is_known: bool = True
    is_well: bool = True
    load: float = 0.0
    in_flight: int = 0
    units: int = 0
    failures: int = 0
    last_given: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """A unit's place at a member: counted there until it is given back, once."""

    member: _Member
    permit: Permit | None

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member.name


@dataclass(frozen=True, slots=True)
class Changes:
    """Who came into the pool and who left it."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(slots=True)
class _Capable:
    """The members for one set of needs, and the own member of each affinity met so far."""

    members: list[_Member]
    own: dict[str, _Member] = field(default_factory=dict)


class MemberPool:
    """The members of a team, who of them is busy with how much, and who takes the next unit. Times are passed in.

    A member's load is what we have in flight there, for each unit that it has room for, and what the registry knows of
    it. Of equals the one that was given nothing for longest is chosen.
    """

    def __init__(self, settings: WorkSettings, rng: random.Random) -> None:
        """`rng` draws for the balance `random`."""
        self._settings, self._rng = settings, rng
        self._members: dict[str, _Member] = {}
        self._capable: dict[frozenset[str], _Capable] = {}
        self._gone: set[str] = set()
        self._given = 0

    # who is in it -------------------------------------------------------------------------------------------------
    def set_names(self, names: Iterable[str]) -> Changes:
        """Let members of these names in before the registry was looked at; they can do what needs nothing special."""
        return self._admit(name for name in names if name not in self._members)

    def update(self, team: Team, registrations: Iterable[Registration]) -> Changes:
        """Take in what the registry knows of the team: newcomers, who left, capabilities, loads.

        Named members stay when the registry does not know them; once known, they are avoided until they are back.
        """
        known = {r.name: r for r in registrations}
        fits = [r.name for r in known.values() if team.query is not None and team.query.fits(r)]
        self._gone.difference_update(known)
        wanted = dict.fromkeys((*(name for name in team.names if name not in self._gone), *fits))
        left = tuple(name for name in self._members if name not in wanted)
        for name in left:
            self.drop(name)
        joined = self._admit(name for name in wanted if name not in self._members).joined
        for member in self._members.values():
            self._take_note(member, known.get(member.name))
        return Changes(joined, left)

    def drop(self, name: str, *, for_good: bool = False) -> bool:
        """Take a member out; what it has in flight goes on. False when there is none of that name.

        One that is gone for good is not let in again before the registry knows it.
        """
        if for_good:
            self._gone.add(name)
        self._capable.clear()
        return self._members.pop(name, None) is not None

    def names(self) -> tuple[str, ...]:
        """Return who is in the pool."""
        return tuple(self._members)

    def unknown(self) -> dict[str, bool]:
        """Return the members that the registry did not know at the last look, and whether it ever did."""
        return {m.name: m.capabilities is not None for m in self._members.values() if not m.is_known}

    # who takes a unit ---------------------------------------------------------------------------------------------
    def is_capable(self, needs: frozenset[str]) -> bool:
        """Say whether anybody has all these capabilities."""
        return bool(self._of(needs).members)

    def take(self, work: Work, now: float, *, avoid: str | None = None, room: bool = True) -> Lease | None:
        """Choose who does the work and count it there; None when nobody is capable, or with `room` when all are full.

        Those whose breaker is open or who are absent are chosen only when nobody else is capable: a team of which all
        are in trouble goes on trying. `avoid`, like those that the work avoids, is chosen only when there is no other.
        """
        capable = self._of(work.needs)
        shunned = work.avoid if avoid is None else work.avoid | {avoid}
        refused: list[_Member] = []
        while True:
            able = [m for m in capable.members if m.is_well and m not in refused and m.breaker.state(now) != "open"]
            some = [m for m in (able or capable.members) if m.name not in shunned] or able or capable.members
            free = [m for m in some if m.in_flight < self._settings.room] if room else some
            if not free:
                return None
            member = self._choose(work, capable, some, free)
            permit = member.breaker.allow(now)
            if isinstance(permit, BreakerOpen) and able:
                refused.append(member)  # half open, and its one trial is under way
                continue
            return self._lease(member, None if isinstance(permit, BreakerOpen) else permit)

    def give_back(self, lease: Lease, verdict: Verdict, now: float) -> None:
        """Count the unit as no longer in flight; a failure that is the member's counts against it."""
        member, permit = lease.member, lease.permit
        member.in_flight -= 1
        member.failures += verdict == "failed"
        if permit is None:
            return
        match verdict:
            case "done":
                member.breaker.success(permit, now)
            case "failed":
                member.breaker.failure(permit, now)
            case "unknown":
                member.breaker.release(permit)

    def slots(self) -> int:
        """Return how many units all members have room for."""
        return len(self._members) * self._settings.room

    def free_slots(self) -> int:
        """Return how many more units there is room for at all members."""
        return sum(max(0, self._settings.room - member.in_flight) for member in self._members.values())

    # figures ------------------------------------------------------------------------------------------------------
    def figures(self, now: float) -> dict[str, MemberFigures]:
        """Return the figures of each member."""
        return {
            m.name: MemberFigures(
                m.in_flight, m.load, m.units, m.failures, m.breaker.state(now) if m.is_well else "absent"
            )
            for m in self._members.values()
        }

    def shortage(self, needs: frozenset[str]) -> NoCapableMemberError:
        """Return the error that says that nobody is capable."""
        return NoCapableMemberError(needs, {m.name: m.capabilities or frozenset() for m in self._members.values()})

    # inside -------------------------------------------------------------------------------------------------------
    def _admit(self, names: Iterable[str]) -> Changes:
        joined = tuple(names)
        for name in joined:
            self._members[name] = _Member(name, CircuitBreaker(self._settings.breaker))
            self._capable.clear()
        return Changes(joined)

    def _take_note(self, member: _Member, registration: Registration | None) -> None:
        member.is_known = registration is not None
        if registration is None:
            member.is_well = member.capabilities is None  # never seen: it may be too new to be known
            return
        member.load, member.is_well = registration.load, registration.health != "unhealthy"
        if member.capabilities != registration.capabilities:
            member.capabilities = registration.capabilities
            self._capable.clear()

    def _of(self, needs: frozenset[str]) -> _Capable:
        capable = self._capable.get(needs)
        if capable is None:
            members = [m for m in self._members.values() if needs <= (m.capabilities or frozenset())]
            if len(self._capable) >= _MOST_REMEMBERED:
                self._capable.clear()
            capable = self._capable[needs] = _Capable(members)
        return capable

    def _choose(self, work: Work, capable: _Capable, some: Sequence[_Member], free: Sequence[_Member]) -> _Member:
        if work.affinity is not None:
            own = self._own(work.affinity, capable, some)
            if own in free:
                return own
        match self._settings.balance:
            case "random":
                return self._rng.choice(free)
            case "round_robin":
                return min(free, key=lambda m: (m.last_given, m.name))
            case _:
                room = self._settings.room
                return min(free, key=lambda m: (m.in_flight / room + m.load, m.last_given, m.name))

    def _own(self, affinity: str, capable: _Capable, some: Sequence[_Member]) -> _Member:
        """Return the affinity's own member.

        Rendezvous hashing (Thaler and Ravishankar, 1998): a member that leaves moves only its own work.
        """
        if len(some) < len(capable.members):
            return max(some, key=lambda m: _weight(m.name, affinity))
        if (own := capable.own.get(affinity)) is None:
            if len(capable.own) >= _MOST_REMEMBERED:
                capable.own.clear()
            own = capable.own[affinity] = max(some, key=lambda m: _weight(m.name, affinity))
        return own

    def _lease(self, member: _Member, permit: Permit | None) -> Lease:
        self._given += 1
        member.last_given = self._given
        member.in_flight += 1
        member.units += 1
        return Lease(member, permit)


def _weight(name: str, affinity: str) -> bytes:
    return hashlib.blake2b(f"{name}\0{affinity}".encode()).digest()
