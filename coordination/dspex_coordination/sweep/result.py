"""The result of a sweep: its trials and the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Split

SweepStatus = Literal["running", "paused", "finished", "budget", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """A finished trial. `rows` and `scores` go together and are empty for a failed one; `failed` says why.

    `cost_usd` is what its own rows cost; those taken over from an earlier trial cost nothing again. With `teacher` it
    is the teacher that scored, not the candidate by itself.
    """

    number: int
    candidate: Candidate
    split: Split
    mean: float | None
    scores: tuple[float | None, ...]
    rows: tuple[int, ...]
    cost_usd: float
    failed: str | None
    measures: Mapping[str, float] = field(default_factory=dict, compare=False)  # some are times, which no run repeats
    teacher: bool = False


@dataclass(frozen=True, slots=True)
class IsolatedRow:
    """A row that was lost with every worker that had it, so that no candidate is scored on it any more."""

    split: Split
    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class SweepResult:
    """All finished trials in order. `cost_usd` also counts rows of trials that did not finish.

    `wasted_usd` is what answers cost that came second and were dropped. `front` are the validation trials that no other
    beats in all objectives. `stopped_by` says which budget or stop rule ended it, or why it failed; None if the
    optimizer was done. `closing` is the last look at the best on train rows (see `SweepSettings`), which is no trial.
    """

    run_id: str
    best: TrialSummary | None
    trials: tuple[TrialSummary, ...]
    cost_usd: float
    status: SweepStatus
    front: tuple[TrialSummary, ...] = ()
    wasted_usd: float = 0.0
    isolated: tuple[IsolatedRow, ...] = ()
    stopped_by: str | None = None
    closing: TrialSummary | None = None
