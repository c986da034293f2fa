"""Specification is data: what a supervisor starts, how it restarts it, and where it lives (OTP's child spec)."""

from __future__ import annotations

import graphlib
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from dspex_agents.errors import SpecError

if TYPE_CHECKING:
    from dspex_agents.agent import Agent

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
Isolation = Literal["shared", "own"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]


def check_id(value: str) -> None:
    """Raise SpecError unless the id is letters, digits and `-_.:`."""
    if not value or not value.replace("-", "").replace("_", "").replace(".", "").replace(":", "").isalnum():
        raise SpecError(f"id must be letters, digits and '-_.:', got {value!r}.")


def _check_one_of(what: str, value: str, options: Any) -> None:
    if value not in get_args(options):
        raise SpecError(f"{what} must be one of {', '.join(map(repr, get_args(options)))}, got {value!r}.")


def _check_seconds(what: str, value: float) -> None:
    if not value >= 0:  # also refuses NaN
        raise SpecError(f"{what} must be a number of seconds, not negative, got {value!r}.")


def check_resources(what: str, resources: Mapping[str, float]) -> None:
    """Raise SpecError unless every amount is a finite number, not negative."""
    for name, amount in resources.items():
        if not 0 <= amount < math.inf:
            raise SpecError(f"{what}: resources[{name!r}] must be a number, not negative, got {amount!r}.")


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


_BACKOFF = Backoff()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One agent under a supervisor.

    `start` builds the agent, called with `kwargs` in the process where it will live; both must pickle. `restart` is
    OTP's: permanent (always), transient (only after an abnormal end), temporary (never). `isolation` gives it a
    process of its `own`, or a place in a process that agents of the same `host` group share.

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
    backoff: Backoff = _BACKOFF
    significant: bool = False
    depends_on: tuple[str, ...] = ()
    stall_s: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_id(self.id)
        if not callable(self.start):
            raise SpecError(f"child {self.id!r}: start must be callable, got {self.start!r}.")
        _check_one_of(f"child {self.id!r}: restart", self.restart, Restart)
        _check_one_of(f"child {self.id!r}: isolation", self.isolation, Isolation)
        _check_seconds(f"child {self.id!r}: shutdown_s", self.shutdown_s)
        if self.stall_s is not None and not self.stall_s > 0:
            raise SpecError(f"child {self.id!r}: stall_s must be a number of seconds above 0, got {self.stall_s!r}.")
        check_resources(f"child {self.id!r}", self.resources)
        if self.resources and self.isolation != "own":
            raise SpecError(f"child {self.id!r}: resources need isolation='own'; shared agents use a HostGroup's.")
        _check_significant(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSpec:
    """A supervisor and its children, started left to right and stopped right to left.

    More than `intensity` restarts within `period_s` seconds end the supervisor with its children, and its own
    supervisor decides (https://www.erlang.org/doc/apps/stdlib/supervisor.html). A process that dies with many agents
    in it counts once. OTP's default is 1 in 5 s; ours is 3, because a process on a busy cluster dies for reasons
    outside the program more often.

    `auto_shutdown`: whether the end for good of `any_significant` child, or of `all_significant` ones, ends the
    supervisor with reason "shutdown". Children can be added while it runs; `max_children` bounds them all.
    """

    id: str
    children: tuple[ChildSpec | SupervisorSpec, ...] = ()
    strategy: Strategy = "one_for_one"
    intensity: int = 3
    period_s: float = 5.0
    restart: Restart = "permanent"
    shutdown_s: float = math.inf
    backoff: Backoff = _BACKOFF
    auto_shutdown: AutoShutdown = "never"
    significant: bool = False
    depends_on: tuple[str, ...] = ()
    max_children: int = 100_000

    def __post_init__(self) -> None:
        check_id(self.id)
        what = f"supervisor {self.id!r}"
        _check_one_of(f"{what}: strategy", self.strategy, Strategy)
        _check_one_of(f"{what}: restart", self.restart, Restart)
        _check_one_of(f"{what}: auto_shutdown", self.auto_shutdown, AutoShutdown)
        _check_seconds(f"{what}: period_s", self.period_s)
        if self.intensity < 0:
            raise SpecError(f"{what}: intensity must not be negative, got {self.intensity}.")
        if self.max_children < 1:
            raise SpecError(f"{what}: max_children must be at least 1, got {self.max_children}.")
        _check_significant(self)
        if self.auto_shutdown == "never" and (odd := [c.id for c in self.children if c.significant]):
            raise SpecError(f"{what}: {', '.join(odd)} is significant, so auto_shutdown must not be 'never'.")
        check_unique(self.ids(), what)
        self.ordered()

    def ordered(self) -> tuple[AnySpec, ...]:
        """Return the children in start order: as given, but for what `depends_on` moves back. Raises SpecError."""
        by_id = {child.id: child for child in self.children}
        graph: dict[str, tuple[str, ...]] = {}
        for child in self.children:
            if unknown := [name for name in child.depends_on if name not in by_id]:
                raise SpecError(f"child {child.id!r} depends on {', '.join(unknown)}, not among its siblings.")
            graph[child.id] = child.depends_on
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            raise SpecError(
                f"supervisor {self.id!r}: the children depend on each other in a circle: {' -> '.join(error.args[1])}."
            ) from None
        placed: dict[str, AnySpec] = {}
        for child in self.children:
            _place(child, by_id, placed)
        return tuple(placed.values())

    def agents(self) -> list[ChildSpec]:
        """Return every agent below, in start order."""
        found: list[ChildSpec] = []
        for child in self.ordered():
            found += child.agents() if isinstance(child, SupervisorSpec) else [child]
        return found

    def ids(self) -> list[str]:
        """Return the id of this supervisor and of everything below."""
        below = (child.ids() if isinstance(child, SupervisorSpec) else [child.id] for child in self.children)
        return [self.id, *(id_ for ids in below for id_ in ids)]


AnySpec: TypeAlias = ChildSpec | SupervisorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGroup:
    """Processes that agents of one `host` group share: a new one is started when each holds `most_agents`.

    `resources` are what each process must find on its node, in Ray's units. `spread` puts the processes on whatever
    node has room; otherwise they stay on the node of whoever started the system.
    """

    name: str
    most_agents: int = 10_000
    resources: Mapping[str, float] = field(default_factory=dict)
    spread: bool = False

    def __post_init__(self) -> None:
        check_id(self.name)
        if self.most_agents < 1:
            raise SpecError(f"host group {self.name!r}: most_agents must be at least 1, got {self.most_agents}.")
        check_resources(f"host group {self.name!r}", self.resources)

    def __hash__(self) -> int:
        return hash(self.name)


def check_unique(ids: Iterable[str], what: str) -> None:
    """Raise SpecError naming every id that occurs twice."""
    if twice := sorted(id_ for id_, count in Counter(ids).items() if count > 1):
        raise SpecError(f"{what}: ids occur twice: {', '.join(twice)}. Give each its own.")


def _check_significant(spec: AnySpec) -> None:
    if spec.significant and spec.restart == "permanent":
        raise SpecError(f"child {spec.id!r}: a permanent child cannot be significant: it never ends for good.")


def _place(child: AnySpec, by_id: Mapping[str, AnySpec], placed: dict[str, AnySpec]) -> None:
    """Put a child behind what it depends on; there is no circle. Not recursive: chains may be long."""
    waiting: list[tuple[AnySpec, Sequence[str]]] = [(child, child.depends_on)]
    while waiting:
        spec, needs = waiting[-1]
        missing = next((name for name in needs if name not in placed), None)
        if missing is not None:
            waiting.append((by_id[missing], by_id[missing].depends_on))
            continue
        waiting.pop()
        placed.setdefault(spec.id, spec)
