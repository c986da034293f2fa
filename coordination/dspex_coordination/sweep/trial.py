"""`Trial`: one asked candidate on its way through the sweep, row by row."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import fsum
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Ask, Split, Told
from dspex_coordination.sweep.result import TrialSummary
from dspex_coordination.sweep.work import EvaluateRows, RowResult


class Trial:
    """State of one trial: which rows are recorded, which units wait, what it scored or why it failed."""

    def __init__(self, number: int, ask: Ask, split_rows: int) -> None:
        self.number = number
        self.candidate: Candidate = ask.candidate
        self.split: Split = ask.split
        self.rows: tuple[int, ...] = tuple(range(split_rows)) if ask.rows is None else ask.rows
        self.failed: str | None = None
        self.told: Told | None = None
        self.waiting: deque[tuple[str, EvaluateRows]] = deque()
        self._scores: dict[int, float | None] = {}
        self._outputs: dict[int, Any] = {}
        self._costs: list[float] = []

    @property
    def recorded(self) -> int:
        """How many rows are recorded."""
        return len(self._scores)

    @property
    def complete(self) -> bool:
        """Whether every row is recorded, or none is needed because the trial failed."""
        return self.failed is not None or len(self._scores) == len(self.rows)

    @property
    def cost_usd(self) -> float:
        """What the recorded rows cost, in an exact sum that does not depend on their order."""
        return fsum(self._costs)

    def lacks(self, row: int) -> bool:
        """Say whether this row is not recorded yet."""
        return row not in self._scores

    def cut(self, run_id: str, chunk: int) -> None:
        """Queue the rows not recorded yet, in units of at most `chunk` rows that keep their number for ever."""
        self.waiting.clear()
        for position in range(0, len(self.rows), chunk):
            rows = tuple(row for row in self.rows[position : position + chunk] if self.lacks(row))
            if rows:
                payload = EvaluateRows(run_id, self.number, self.candidate.to_json(), self.split, rows)
                self.waiting.append((f"{self.number}:{self.split}:{position // chunk}", payload))

    def record(self, results: Sequence[RowResult]) -> None:
        """Take in rows."""
        for result in results:
            self._scores[result.row] = result.score
            self._outputs[result.row] = result.output
            self._costs.append(result.cost_usd)

    def fail(self, reason: str) -> None:
        """Give the trial up; rows in flight may still be recorded for their cost."""
        self.failed = reason
        self.waiting.clear()

    def tell(self, cost_usd: float) -> Told:
        """Close the trial and return what the optimizer is told; a failed trial tells no scores."""
        rows = () if self.failed is not None else self.rows
        scores = tuple(self._scores[row] for row in rows)
        outputs = tuple(self._outputs[row] for row in rows)
        told = Told(self.number, self.candidate, self.split, rows, scores, outputs, cost_usd, self.failed)
        self._outputs.clear()  # only the optimizer reads outputs; 100,000 rows of text need not stay in memory
        self.told = told if self.failed is not None else _without_outputs(told)
        return told

    def summary(self) -> TrialSummary:
        """Return the finished trial. Only for one that was told."""
        told = self.told
        if told is None:
            raise RuntimeError(f"trial {self.number} is not finished")
        return TrialSummary(
            self.number, self.candidate, self.split, told.mean, told.scores, told.rows, self.cost_usd, self.failed
        )


def _without_outputs(told: Told) -> Told:
    blank = (None,) * len(told.rows)
    return Told(told.number, told.candidate, told.split, told.rows, told.scores, blank, told.cost_usd, told.failed)
