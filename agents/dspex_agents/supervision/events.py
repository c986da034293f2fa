"""What a supervisor is told, and what it decides: events in, effects out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dspex_agents.supervision.child_spec import AnySpec


# Events: what happened ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StartRequested:
    """Start every child in order.

    With `recovering`, an earlier shell of this supervisor died: those in `alive` (id to epoch) run and are adopted as
    they are; those in `ended` (id to reason) ended meanwhile, and the others are taken to have died with it.
    """

    alive: Mapping[str, int] = field(default_factory=dict)
    ended: Mapping[str, str] = field(default_factory=dict)
    recovering: bool = False


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
class ChildrenLost:
    """These children ended abnormally at one blow, as when the process they share dies: one restart, not many."""

    lost: tuple[ChildExited, ...]


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The backoff of the child is over."""

    id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class ChildrenAdded:
    """Start these children, beside what goes on; one that cannot be started is forgotten again."""

    specs: tuple[AnySpec, ...]


@dataclass(frozen=True, slots=True)
class RemovalRequested:
    """Stop the child and forget it; it is told the reason."""

    id: str
    reason: str = "shutdown"


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """Stop the child, if it runs, and start it again; this is no failure."""

    id: str


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
    """Ask the child of this epoch to stop, for this reason, kill it after `shutdown_s`, then report ChildExited."""

    id: str
    epoch: int
    shutdown_s: float
    reason: str = "shutdown"


@dataclass(frozen=True, slots=True)
class ScheduleRetry:
    """Report RetryDue after the delay."""

    id: str
    epoch: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Removed:
    """The child is forgotten: it ended for good, was removed, or (`failed`) could not be started when added."""

    id: str
    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """Every child is up for the first time."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The supervisor ended with this reason; `shutdown` when asked to."""

    reason: str


Event: TypeAlias = (
    StartRequested
    | ChildStarted
    | ChildStartFailed
    | ChildExited
    | ChildrenLost
    | RetryDue
    | ChildrenAdded
    | RemovalRequested
    | RestartRequested
    | StopRequested
)
Effect: TypeAlias = StartChild | StopChild | ScheduleRetry | Removed | Ready | Stopped
