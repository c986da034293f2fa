"""The result of a sweep: its trials and the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Split

SweepStatus = Literal["running", "finished", "budget", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """A finished trial. `rows` and `scores` go together and are empty for a failed one; `failed` says why."""

    number: int
    candidate: Candidate
    split: Split
    mean: float | None
    scores: tuple[float | None, ...]
    rows: tuple[int, ...]
    cost_usd: float
    failed: str | None


@dataclass(frozen=True, slots=True)
class SweepResult:
    """All finished trials in order. `cost_usd` also counts rows of trials that did not finish."""

    run_id: str
    best: TrialSummary | None
    trials: tuple[TrialSummary, ...]
    cost_usd: float
    status: SweepStatus
