"""A team and how it works, as data: who may be in it, how many units at once, how often and how long it tries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from dspex_agents.agent import AgentContext
from dspex_agents.errors import SpecError
from dspex_agents.services.breaker import BreakerSettings
from dspex_agents.supervision.registry import Criterion, Query, Registration

Balance = Literal["least_loaded", "round_robin", "random"]
_BREAKER = BreakerSettings(failure_threshold=5, success_threshold=1, reset_s=30.0)


@dataclass(frozen=True, slots=True)
class Team:
    """The agents of these names, and, with a `query`, every agent that fits it: those that come later too."""

    names: tuple[str, ...] = ()
    query: Query | None = None

    async def registrations(self, context: AgentContext) -> tuple[Registration, ...]:
        """Return what the registry knows of the team now. Raises what `context.find` raises."""
        found: dict[str, Registration] = {}
        if self.names:
            found |= {r.name: r for r in await context.find(where=(Criterion("name", "in", self.names),))}
        if self.query is not None:
            found |= {r.name: r for r in await context.find(self.query)}
        return tuple(found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings:
    """How units of work are given to members.

    At most `room` units of one run are in flight at a member. A unit that is lost to infrastructure is given to another
    capable member, at most `attempts` times in all, `timeout_s` seconds each. Among those with room, `balance` chooses;
    `seed` is that of `random`. `breaker` says when a member that keeps failing is avoided, and for how long.

    What nobody in the team is capable of waits `member_wait_s` for a newcomer; the registry is looked at every
    `refresh_s`. A run in which no unit was finished for `stall_s` is reported as stalled. All in seconds.
    """

    room: int = 2
    attempts: int = 4
    timeout_s: float = 600.0
    balance: Balance = "least_loaded"
    seed: int = 0
    breaker: BreakerSettings = _BREAKER
    member_wait_s: float = 10.0
    refresh_s: float = 1.0
    stall_s: float = 300.0

    def __post_init__(self) -> None:
        for name in ("room", "attempts"):
            if getattr(self, name) < 1:
                raise SpecError(f"work.{name} must be at least 1, got {getattr(self, name)!r}.")
        for name in ("timeout_s", "member_wait_s", "refresh_s", "stall_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise SpecError(f"work.{name} must be a number of seconds above 0, got {getattr(self, name)!r}.")
        if self.balance not in get_args(Balance):
            options = ", ".join(map(repr, get_args(Balance)))
            raise SpecError(f"work.balance must be one of {options}, got {self.balance!r}.")
