"""Specification is data: what a supervisor starts, how it restarts it, and where it lives (OTP's child spec)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from dspex_agents.errors import SpecError

if TYPE_CHECKING:
    from dspex_agents.agent import Agent

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
Isolation = Literal["shared", "own"]


def _check_id(value: str) -> None:
    if not value or not value.replace("-", "").replace("_", "").replace(".", "").replace(":", "").isalnum():
        raise SpecError(f"id must be letters, digits and '-_.:', got {value!r}.")


def _check_one_of(what: str, value: str, options: Any) -> None:
    if value not in get_args(options):
        raise SpecError(f"{what} must be one of {', '.join(map(repr, get_args(options)))}, got {value!r}.")


def _check_seconds(what: str, value: float) -> None:
    if not value >= 0:  # also refuses NaN
        raise SpecError(f"{what} must be a number of seconds, not negative, got {value!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delay before restart number n within the period: 0 for the first, then `initial_s * factor**(n-2)`, capped.

    `jitter` spreads each delay by up to that share in both directions, so that children do not return in step.
    """

    initial_s: float = 0.1
    factor: float = 2.0
    max_s: float = 30.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        _check_seconds("backoff.initial_s", self.initial_s)
        _check_seconds("backoff.max_s", self.max_s)
        if self.factor < 1:
            raise SpecError(f"backoff.factor must be at least 1, got {self.factor}.")
        if not 0 <= self.jitter < 1:
            raise SpecError(f"backoff.jitter must be in [0, 1), got {self.jitter}.")

    def delay_s(self, restarts: int, rng: random.Random) -> float:
        """Return the delay before the restart that makes `restarts` of them in the current period, in seconds."""
        if restarts <= 1:
            return 0.0
        plain = min(self.max_s, self.initial_s * self.factor ** min(restarts - 2, 64))
        return plain * (1 + self.jitter * (2 * rng.random() - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One agent under a supervisor.

    `start` builds the agent, called with `kwargs` in the process where it will live; both must pickle. `restart` is
    OTP's: permanent (always), transient (only after an abnormal end), temporary (never). `isolation` gives it a
    process of its `own`, or a place in the process that all of the same `host` group share.

    `significant` (not for permanent children): its end for good may end its supervisor, see `auto_shutdown` there.
    `depends_on` names siblings that must be up first. A message in hand that shows no progress for `stall_s` seconds
    means that the agent hangs: it is restarted. `resources` are what its process must find on its node, in Ray's
    units (`CPU`, `GPU`, `memory` in bytes, or a node's own); only an agent of its `own` process may ask for them,
    shared ones ask through their `HostGroup`. `capabilities` are added to those of the agent's class.
    """

    id: str
    start: Callable[..., Agent]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    restart: Restart = "permanent"
    shutdown_s: float = 5.0
    isolation: Isolation = "shared"
    host: str = "shared"
    capabilities: frozenset[str] = frozenset()
    backoff: Backoff = Backoff()
    significant: bool = False
    depends_on: tuple[str, ...] = ()
    stall_s: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_id(self.id)
        if not callable(self.start):
            raise SpecError(f"child {self.id!r}: start must be callable, got {self.start!r}.")
        _check_one_of(f"child {self.id!r}: restart", self.restart, Restart)
        _check_one_of(f"child {self.id!r}: isolation", self.isolation, Isolation)
        _check_seconds(f"child {self.id!r}: shutdown_s", self.shutdown_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSpec:
    """A supervisor and its children, started left to right and stopped right to left.

    More than `intensity` restarts within `period_s` seconds end the supervisor with its children, and its own
    supervisor decides (https://www.erlang.org/doc/apps/stdlib/supervisor.html). OTP's default is 1 in 5 s; ours is
    3, because a process on a busy cluster dies for reasons outside the program more often.
    """

    id: str
    children: tuple[ChildSpec | SupervisorSpec, ...] = ()
    strategy: Strategy = "one_for_one"
    intensity: int = 3
    period_s: float = 5.0
    restart: Restart = "permanent"
    shutdown_s: float = math.inf
    backoff: Backoff = Backoff()

    def __post_init__(self) -> None:
        _check_id(self.id)
        _check_one_of(f"supervisor {self.id!r}: strategy", self.strategy, Strategy)
        _check_one_of(f"supervisor {self.id!r}: restart", self.restart, Restart)
        _check_seconds(f"supervisor {self.id!r}: period_s", self.period_s)
        if self.intensity < 0:
            raise SpecError(f"supervisor {self.id!r}: intensity must not be negative, got {self.intensity}.")

    def agents(self) -> list[ChildSpec]:
        """Return every agent below, in start order. Raises SpecError when an id occurs twice in the tree."""
        found: list[ChildSpec] = []
        for child in self.children:
            found += child.agents() if isinstance(child, SupervisorSpec) else [child]
        ids = [child.id for child in found]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise SpecError(f"supervisor {self.id!r}: child ids occur twice: {', '.join(twice)}. Give each its own.")
        return found


AnySpec: TypeAlias = ChildSpec | SupervisorSpec
