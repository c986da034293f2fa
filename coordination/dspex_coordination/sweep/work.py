"""What a sweep asks of a worker, and what the worker answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import SweepError


@dataclass(frozen=True, slots=True)
class EvaluateRows:
    """Payload of one unit of work: run the program with these values on these rows of a split.

    With `traced` each row's result has a `trace` of how it went; `fresh` wants new draws, no answers from a cache; with
    `teacher` the teacher answers. Of the split `errand` the values are the errand itself, and the one row's output is
    the answer.
    """

    run_id: str
    trial: int
    candidate_values: dict[str, Any]
    split: str
    rows: tuple[int, ...]
    traced: bool = False
    fresh: bool = False
    teacher: bool = False


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row's result. `score` is None where the metric gave none; `output` is JSON.

    An exception of the program on this row is `error` with `score=0.0`. `measures` and `feedback` are a metric's own;
    `trace` tells how the program came to its output, as JSON; `prompt_tokens` is the length of its prompts, None where
    that is not known.
    `cost_usd` is the whole bill of the row, and `metric_cost_usd` the part of it that the metric's own model calls
    cost. Raises SweepError for a score, cost, latency or measure that is no finite number, or an output or trace that
    is no JSON: at the worker, where the fault is.
    """

    row: int
    score: float | None
    output: Any
    cost_usd: float = 0.0
    latency_s: float = 0.0
    error: str | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    feedback: str | None = None
    metric_cost_usd: float = 0.0
    trace: Any = None
    prompt_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not math.isfinite(self.score):
            raise SweepError(f"Row {self.row}: the score must be finite, got {self.score!r}.")
        for name in ("cost_usd", "latency_s", "metric_cost_usd", "prompt_tokens"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise SweepError(f"Row {self.row}: {name} must be finite and not negative, got {value!r}.")
        for name, value in self.measures.items():
            if not math.isfinite(value):
                raise SweepError(f"Row {self.row}: the measure {name!r} must be finite, got {value!r}.")
        for name in ("output", "trace"):
            try:
                canonical_json(getattr(self, name))
            except (TypeError, ValueError) as error:
                raise SweepError(f"Row {self.row}: the {name} is no JSON value: {error}.") from error

    @staticmethod
    def recorded(*values: Any) -> RowResult:
        """Return the result of these fields, all of them in order, that was checked before it was recorded."""
        result = object.__new__(RowResult)
        for put, value in zip(_PUT, values, strict=True):
            put(result, value)
        return result


# what fills the slots of a frozen instance: 100,000 rows are read again on resumption
_PUT = tuple(vars(RowResult)[one.name].__set__ for one in fields(RowResult))


@dataclass(frozen=True, slots=True)
class RowsEvaluated:
    """A worker's answer: one result for each row asked, and records of its model calls, opaque to this floor."""

    rows: tuple[RowResult, ...]
    records: tuple[dict[str, Any], ...] = ()
