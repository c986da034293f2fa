"""What the store keeps of a sweep: the sweep itself, its journal's entries, its evaluated rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dspex_coordination.sweep.result import SweepStatus
from dspex_coordination.sweep.work import RowResult

EventKind = Literal["ask", "tell", "cancel", "failure"]


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """One sweep as stored. Times are seconds since the epoch; `trials` are finished ones, `rows` all recorded."""

    run_id: str
    status: SweepStatus
    created_at: float
    updated_at: float
    fingerprint: Mapping[str, Any]
    config: Mapping[str, Any]
    trials: int
    rows: int
    cost_usd: float


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
