"""Sweeps: an optimizer's trials, evaluated by agents and journalled in the store."""

from __future__ import annotations

from dspex_coordination.sweep.fork import forked
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
from dspex_coordination.sweep.settings import Hedging, SweepSettings
from dspex_coordination.sweep.stop_rules import (
    CallsSpent,
    CostSpent,
    NoImprovement,
    RowsDone,
    ScoreReached,
    StopRule,
    TimeSpent,
    TrialsDone,
    all_of,
    any_of,
)
from dspex_coordination.sweep.store import SWEEP_MIGRATIONS, SweepStore
from dspex_coordination.sweep.sweep import Sweep
from dspex_coordination.sweep.work import EvaluateRows, RowResult, RowsEvaluated

__all__ = [
    "SWEEP_MIGRATIONS",
    "Attempt",
    "CallsSpent",
    "CostSpent",
    "EvaluateRows",
    "Event",
    "Hedging",
    "IsolatedRow",
    "NoImprovement",
    "RecordedRow",
    "Request",
    "RequestKind",
    "RowResult",
    "RowsDone",
    "RowsEvaluated",
    "ScoreReached",
    "StopRule",
    "Sweep",
    "SweepRecord",
    "SweepResult",
    "SweepSettings",
    "SweepStatus",
    "SweepStore",
    "TimeSpent",
    "TrialRecord",
    "TrialSummary",
    "TrialsDone",
    "all_of",
    "any_of",
    "forked",
]
