"""The supervisor as a pure state machine: events in, effects out, time passed in (OTP's supervisor.erl semantics)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dspex_agents.errors import SpecError
from dspex_agents.supervision.child_spec import AnySpec, SupervisorSpec

Phase = Literal["new", "starting", "running", "stopping", "stopped"]
ChildStatus = Literal["stopped", "starting", "running", "stopping", "backoff", "removed"]
NORMAL_REASONS = ("normal", "shutdown")


# Events: what happened ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StartRequested:
    """Start every child in order; those in `alive` (id to epoch) run already and are adopted as they are."""

    alive: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """The child of this epoch is up."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ChildStartFailed:
    """The child of this epoch could not be started."""

    id: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChildExited:
    """The child of this epoch ended: `normal`, `shutdown`, or anything else, which is abnormal."""

    id: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The backoff of the child is over."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Stop every child in reverse order, then stop."""

    reason: str = "shutdown"


# Effects: what the shell must do --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StartChild:
    """Start the child as this epoch, then report ChildStarted or ChildStartFailed."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class StopChild:
    """Ask the child of this epoch to stop, kill it after `shutdown_s`, then report ChildExited."""

    id: str
    epoch: int
    shutdown_s: float


@dataclass(frozen=True, slots=True)
class ScheduleRetry:
    """Report RetryDue after the delay."""

    id: str
    epoch: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Ready:
    """Every child is up for the first time."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The supervisor ended with this reason; `shutdown` when asked to."""

    reason: str


Event: TypeAlias = StartRequested | ChildStarted | ChildStartFailed | ChildExited | RetryDue | StopRequested
Effect: TypeAlias = StartChild | StopChild | ScheduleRetry | Ready | Stopped


@dataclass(slots=True)
class Child:
    """What the supervisor knows of one child."""

    spec: AnySpec
    status: ChildStatus = "stopped"
    epoch: int = 0
    restarts: int = 0
    last_reason: str = ""


class SupervisorState:
    """One supervisor. `handle` is its only way in; it does no I/O and reads no clock."""

    def __init__(self, spec: SupervisorSpec, rng: random.Random) -> None:
        spec.agents()  # refuses duplicate ids
        self.spec, self._rng = spec, rng
        self.children = {child.id: Child(child) for child in spec.children}
        self.phase: Phase = "new"
        self.reason = ""
        self.restart_times: tuple[float, ...] = ()
        self._to_stop: list[str] = []
        self._to_start: list[str] = []
        self._ready = False

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take in one event at time `now` (seconds) and return what to do, in order."""
        match event:
            case StartRequested(alive):
                return self._start(alive, now)
            case StopRequested(reason):
                return self._stop(reason)
            case ChildStarted(id, epoch) if self._is_current(id, epoch):
                return self._started(self.children[id], now)
            case ChildStartFailed(id, epoch, reason) if self._is_current(id, epoch):
                return self._start_failed(self.children[id], reason, now)
            case ChildExited(id, epoch, reason) if self._is_current(id, epoch):
                return self._exited(self.children[id], reason, now)
            case RetryDue(id, epoch) if self._is_current(id, epoch) and self.children[id].status == "backoff":
                return [self._start_child(self.children[id], now)]
            case _:
                return []  # a late report of an older incarnation

    def _is_current(self, id_: str, epoch: int) -> bool:
        if id_ not in self.children:
            raise SpecError(f"supervisor {self.spec.id!r} has no child {id_!r}.")
        return self.children[id_].epoch == epoch

    # starting -----------------------------------------------------------------------------------------------------
    def _start(self, alive: Mapping[str, int], now: float) -> list[Effect]:
        self.phase, self._ready, self.restart_times = "starting", False, ()
        for id_, epoch in alive.items():
            self.children[id_].status, self.children[id_].epoch = "running", epoch
        self._to_start = [id_ for id_ in self.children if id_ not in alive]
        return self._advance(now)

    def _start_child(self, child: Child, now: float) -> StartChild:
        # milliseconds keep epochs growing even after this supervisor itself was rebuilt and forgot the old ones
        child.epoch = max(child.epoch + 1, int(now * 1000))
        child.status = "starting"
        return StartChild(child.spec.id, child.epoch)

    def _started(self, child: Child, now: float) -> list[Effect]:
        if child.status == "stopping":
            return [self._stop_child(child)]  # a stop was asked for while it was still starting
        child.status = "running"
        return self._advance(now)

    def _start_failed(self, child: Child, reason: str, now: float) -> list[Effect]:
        child.last_reason = reason
        if child.status == "stopping":
            child.status = "stopped"
            return self._advance(now)
        child.status = "stopped"
        if self.phase == "starting":  # OTP: a failed first start rolls back and fails the supervisor
            return self._stop(f"child {child.spec.id!r} did not start: {reason}")
        return self._restart(child, reason, now)

    # exits --------------------------------------------------------------------------------------------------------
    def _exited(self, child: Child, reason: str, now: float) -> list[Effect]:
        expected = child.status == "stopping"
        child.status, child.last_reason = "stopped", reason
        if expected or self.phase == "stopping":
            return self._advance(now)
        if self.phase == "starting":
            return self._stop(f"child {child.spec.id!r} ended while starting: {reason}")
        match child.spec.restart, reason in NORMAL_REASONS:
            case ("permanent", _) | ("transient", False):
                return self._restart(child, reason, now)
            case _:
                child.status = "removed" if child.spec.restart == "temporary" else "stopped"
                return []

    def _restart(self, child: Child, reason: str, now: float) -> list[Effect]:
        self.restart_times = recent((*self.restart_times, now), now, self.spec.period_s)
        if len(self.restart_times) > self.spec.intensity:
            return self._stop(
                f"restart intensity reached: {len(self.restart_times)} restarts within {self.spec.period_s:g} s, "
                f"the last of {child.spec.id!r} ({reason})"
            )
        child.restarts += 1
        affected = self._affected(child.spec.id)
        if affected == [child.spec.id]:
            return self._start_after_backoff(child, now)
        self._to_stop = [i for i in reversed(affected) if self.children[i].status in ("running", "starting")]
        for id_ in affected:
            if self.children[id_].status == "backoff":
                self.children[id_].status = "stopped"
        self._to_start = [i for i in self.children if i in affected and self.children[i].status != "removed"]
        return self._advance(now)

    def _start_after_backoff(self, child: Child, now: float) -> list[Effect]:
        delay = child.spec.backoff.delay_s(len(self.restart_times), self._rng)
        if delay <= 0:
            return [self._start_child(child, now)]
        child.status = "backoff"
        return [ScheduleRetry(child.spec.id, child.epoch, delay)]

    def _affected(self, id_: str) -> list[str]:
        ids = list(self.children)
        match self.spec.strategy:
            case "one_for_one":
                return [id_]
            case "one_for_all":
                return ids
            case "rest_for_one":
                return ids[ids.index(id_) :]

    # stopping -----------------------------------------------------------------------------------------------------
    def _stop(self, reason: str) -> list[Effect]:
        if self.phase in ("stopping", "stopped"):
            return []
        self.phase, self.reason = "stopping", reason
        self._to_start = []
        self._to_stop = [i for i in reversed(self.children) if self.children[i].status in ("running", "starting")]
        for child in self.children.values():
            if child.status == "backoff":
                child.status = "stopped"
        return self._advance(0.0)

    def _stop_child(self, child: Child) -> StopChild:
        child.status = "stopping"
        return StopChild(child.spec.id, child.epoch, child.spec.shutdown_s)

    # the one queue: first the stops, one by one, then the starts, one by one --------------------------------------
    def _advance(self, now: float) -> list[Effect]:
        if any(self.children[i].status == "stopping" for i in self.children):
            return []
        while self._to_stop:
            child = self.children[self._to_stop.pop(0)]
            if child.status == "running":
                return [self._stop_child(child)]
            if child.status == "starting":
                child.status = "stopping"  # stopped as soon as it reports back
                return []
        if self.phase == "stopping":
            self.phase = "stopped"
            return [Stopped(self.reason)]
        if any(self.children[i].status == "starting" for i in self._group_in_start()):
            return []
        while self._to_start:
            child = self.children[self._to_start.pop(0)]
            if child.status == "stopped":
                return [self._start_child(child, now)]
        if self.phase == "starting":
            self.phase = "running"
        if not self._ready:
            self._ready = True
            return [Ready()]
        return []

    def _group_in_start(self) -> list[str]:
        """Return the ids whose start the queue must wait for; one_for_one restarts run beside the queue."""
        return list(self.children) if self._to_start or self.phase == "starting" else []


def recent(times: tuple[float, ...], now: float, period_s: float) -> tuple[float, ...]:
    """Return the times within the last `period_s` seconds (OTP's add_restart)."""
    return tuple(t for t in times if now - t <= period_s)
