"""Sweeps: an optimizer's trials, evaluated by agents and journalled in the store."""

from __future__ import annotations

from dspex_coordination.sweep.record import (
    Attempt,
    Event,
    RecordedRow,
    Request,
    RequestKind,
    SweepRecord,
    TrialRecord,
)
from dspex_coordination.sweep.result import IsolatedRow, SweepResult, SweepStatus, TrialSummary
from dspex_coordination.sweep.store import SWEEP_MIGRATIONS, SweepStore
from dspex_coordination.sweep.sweep import Sweep
from dspex_coordination.sweep.work import EvaluateRows, RowResult, RowsEvaluated

__all__ = [
    "SWEEP_MIGRATIONS",
    "Attempt",
    "EvaluateRows",
    "Event",
    "IsolatedRow",
    "RecordedRow",
    "Request",
    "RequestKind",
    "RowResult",
    "RowsEvaluated",
    "Sweep",
    "SweepRecord",
    "SweepResult",
    "SweepStatus",
    "SweepStore",
    "TrialRecord",
    "TrialSummary",
]
