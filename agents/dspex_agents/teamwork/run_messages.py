"""What a coordinator is told and asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dspex_agents.errors import MessageError, SpecError
from dspex_agents.roles.plan import Plan
from dspex_agents.teamwork.member_pool import MemberFigures

RunPhase = Literal["initializing", "running", "paused", "completed", "failed", "cancelled"]


class RunLimitError(MessageError):
    """As many runs as the coordinator may have are under way; nothing was begun."""

    retryable = True


class UnknownRunError(MessageError):
    """No run of this id is under way here (any more)."""


class RunLostError(MessageError):
    """The agent of a run died with the run in the middle. Asked for again, a plan with a journal goes on from there."""

    executed = None
    retryable = True


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Run the plan that `build(**kwargs)` makes in the process of the run's agent; answers with its result.

    A second message with the same `run_id` joins the run under way; the run stops when the last asker is gone, and
    a plan with a journal goes on from there when it is asked for again. `build` and `kwargs` pickle. Runs share their
    members by the units that each may have in flight there: `share` times those of a run of share 1. Raises what the
    plan raises, RunLimitError, RunLostError, NoCapableMemberError; SpecError for a share below 1.
    """

    run_id: str
    build: Callable[..., Plan]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    share: int = 1

    def __post_init__(self) -> None:
        if self.share < 1:
            raise SpecError(f"The share of run {self.run_id!r} must be at least 1, got {self.share!r}.")


@dataclass(frozen=True, slots=True)
class StartPlan:
    """Like `RunPlan`, but answers with the run's id as soon as its agent is up; the run goes on until it ends.

    Its result is in `GetRunStatus`. Without a `run_id` a fresh one is made.
    """

    build: Callable[..., Plan]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    share: int = 1


@dataclass(frozen=True, slots=True)
class GetProgress:
    """Control: answer with the progress of a run (see `Plan.progress`)."""

    run_id: str


@dataclass(frozen=True, slots=True)
class CancelPlan:
    """Control: stop handing out work of a run; its asker gets the result of what was done."""

    run_id: str
    reason: str = "cancelled by hand"


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Control: stop a run at once: what members are working on is cancelled there, where that is possible.

    Its asker gets the result of what was done. Answers False when the run has ended already.
    """

    run_id: str
    reason: str = "cancelled by hand"


@dataclass(frozen=True, slots=True)
class PauseRun:
    """Control: give no more units of a run to members; what is with them goes on."""

    run_id: str


@dataclass(frozen=True, slots=True)
class ResumeRun:
    """Control: go on with a paused run."""

    run_id: str


@dataclass(frozen=True, slots=True)
class GetRunStatus:
    """Control: answer with the `RunStatus` of a run under way, or of one of the last that ended."""

    run_id: str


@dataclass(frozen=True, slots=True)
class ListRuns:
    """Control: answer with the `RunStatus` of every run under way and of the last that ended, without results."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a run stands. Times are seconds since the epoch; `ended_at` is None while it is under way.

    `percent` is from 0 to 100, None where the plan cannot tell. `assigned` counts the units given to each agent,
    `results` has the values of units done so far where the plan shows them, `result` that of a completed or cancelled
    run. `stalled`: no unit was finished for longer than the settings allow. `awaited`: it stops when nobody asks for
    its result any more.
    """

    run_id: str
    status: RunPhase
    agent: str
    started_at: float
    ended_at: float | None = None
    percent: float | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    assigned: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None
    reason: str = ""
    stalled: bool = False
    awaited: bool = True
    in_flight: int = 0
    units_done: int = 0
    units_failed: int = 0
    members: Mapping[str, MemberFigures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisterMembers:
    """Take agents into the team, for runs under way too; answers with `MembersRegistered`.

    Each must be running and have all of `capabilities` (at least one of any kind). Those that do not are reported; the
    rest is taken in.
    """

    names: tuple[str, ...]
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class UnregisterMembers:
    """Take agents out of the team: they get no more work. Answers with the names that were in it."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MembersRegistered:
    """Who was taken in, and who was not, with the reason."""

    registered: tuple[str, ...]
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DistributeTask:
    """Have one unit of work done by a capable member; answers with that one's answer.

    Raises NoCapableMemberError, or what the last of the members asked raised. An attempt takes at most `timeout_s`.
    """

    payload: Any
    needs: frozenset[str] = frozenset()
    timeout_s: float | None = None
    affinity: str | None = None

    def __post_init__(self) -> None:
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise SpecError(f"DistributeTask.timeout_s must be a number of seconds above 0, got {self.timeout_s!r}.")


@dataclass(frozen=True, slots=True)
class GetCoordinationMetrics:
    """Control: answer with `CoordinationMetrics`."""


@dataclass(frozen=True, slots=True)
class CoordinationMetrics:
    """A coordinator in figures since its start: runs begun and how they ended, their mean duration in seconds.

    `units` were given to members by runs, `tasks` by `DistributeTask`; `members` are the team's as of now, with what
    all runs under way and all ended ones gave them.
    """

    total: int
    active: int
    successful: int
    failed: int
    cancelled: int
    mean_duration_s: float
    units: int
    tasks: int
    members: Mapping[str, MemberFigures]
