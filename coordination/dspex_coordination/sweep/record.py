"""What the store keeps of a sweep: the sweep itself, its journal's entries, rows, attempts and requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Split
from dspex_coordination.sweep.result import SweepStatus
from dspex_coordination.sweep.work import RowResult

EventKind = Literal["ask", "tell", "cancel", "failure", "pause", "resume", "extend", "isolate", "refused"]
RequestKind = Literal["pause", "resume", "cancel", "extend"]
AttemptOutcome = Literal["done", "dropped", "lost", "failed"]
STALE_S = 60.0  # a running sweep whose driver has not written for so long has none any more


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """One sweep as stored. Times are seconds since the epoch.

    `trials` are the finished ones, errands not counted, and `rows` all that are recorded, which cost `cost_usd`.
    `active_s` is how long drivers have worked on it, in seconds. `note` says why it is in its status: what stopped it,
    or why it failed.
    """

    run_id: str
    status: SweepStatus
    created_at: float
    updated_at: float
    fingerprint: Mapping[str, Any]
    config: Mapping[str, Any]
    trials: int
    rows: int
    cost_usd: float
    heartbeat_at: float | None = None
    active_s: float = 0.0
    note: str | None = None

    def rows_of(self, trial: TrialRecord) -> Sequence[int]:
        """Return the numbers of the rows of one of its trials; an errand has one, its answer."""
        if trial.rows is not None:
            return trial.rows
        return range(1 if trial.split == "errand" else int(self.config[f"{trial.split}_rows"]))

    def is_stale(self, now: float) -> bool:
        """Say whether it is called running, or paused, but its driver is gone: it can be resumed."""
        seen = self.updated_at if self.heartbeat_at is None else self.heartbeat_at
        return self.status in ("running", "paused") and now - seen > STALE_S


@dataclass(frozen=True, slots=True)
class Event:
    """One journal entry: the ask or tell of a trial, or a note on the whole sweep."""

    kind: EventKind
    trial: int | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """One evaluated row of a trial, and the worker that did it."""

    trial: int
    result: RowResult
    worker: str = ""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as the journal tells it; `told_at` is None while it is open. `rows` None means the whole split.

    `cost_usd` is what its own rows cost; `measures` are those of `dspex_coordination.objectives.measures`, empty for an
    open or failed trial. With `teacher` it was the teacher that was scored; `closing` is the last look at the best.
    """

    number: int
    candidate: Candidate
    split: Split
    rows: tuple[int, ...] | None
    asked_at: float
    told_at: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    cost_usd: float = 0.0
    failed: str | None = None
    teacher: bool = False
    closing: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a unit of `rows` rows was with a worker, from `started_at` to `ended_at`.

    Its outcome: `done`; `dropped`, when another worker's answer had come first; `lost` to infrastructure; `failed`, the
    program's own failure. `cost_usd` and `calls` are those of its answer, where there is one.
    """

    number: int
    unit: str
    trial: int
    rows: int
    worker: str
    started_at: float
    ended_at: float
    outcome: AttemptOutcome
    cost_usd: float = 0.0
    calls: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptSums:
    """Of all attempts: calls by trial (of answers that counted), the cost of those that did not, the next number."""

    calls: Mapping[int, int]
    wasted_usd: float
    next_number: int


@dataclass(frozen=True, slots=True)
class Request:
    """Something asked of a sweep from outside its driver; `taken_at` is None until the driver has heard it."""

    id: int
    kind: RequestKind
    data: Mapping[str, Any]
    at: float
    taken_at: float | None = None
