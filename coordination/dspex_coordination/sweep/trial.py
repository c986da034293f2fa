"""`Trial`: one asked candidate on its way through the sweep, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum

from dspex_coordination.candidate import Candidate
from dspex_coordination.objectives import measures_of
from dspex_coordination.optimizers.base import Ask, Split, Told
from dspex_coordination.sweep.result import TrialSummary
from dspex_coordination.sweep.work import RowResult


class Trial:
    """State of one trial: which rows it has, what they scored, or why it failed.

    A row is recorded (evaluated in this trial), reused (taken over from an earlier one of the same candidate), or left
    out: lost with every worker that had it. Results are forgotten once told; 100,000 outputs need not stay in memory.
    """

    def __init__(self, number: int, ask: Ask, split_rows: int, seat: int | None = None) -> None:
        """Make the trial that the optimizer asked as its `seat`-th; None if the sweep itself asked it (`closing`)."""
        self.number, self.ask, self.seat = number, ask, seat
        self.candidate: Candidate = ask.candidate
        self.split: Split = ask.split
        self.rows: tuple[int, ...] = tuple(range(split_rows)) if ask.rows is None else ask.rows
        self.failed: str | None = None
        self.told: Told | None = None
        self.own: tuple[int, ...] = ()  # once told, the rows that the store has under this trial
        self.recorded = 0
        self.calls = 0
        self._results: dict[int, RowResult] = {}
        self._reused: set[int] = set()
        self._left_out: set[int] = set()
        self._costs: list[float] = []

    @property
    def is_aside(self) -> bool:
        """Whether it counts as no trial of the search: an errand, or the last look at the best."""
        return self.split == "errand" or self.seat is None

    @property
    def complete(self) -> bool:
        """Whether nothing is lacking, or none is needed because the trial failed."""
        return self.failed is not None or not self.lacking

    @property
    def lacking(self) -> int:
        """How many rows are neither recorded, nor reused, nor left out."""
        return len(self.rows) - len(self._results) - len(self._left_out)

    @property
    def cost_usd(self) -> float:
        """What the recorded rows cost, in an exact sum that does not depend on their order."""
        return fsum(self._costs)

    def lacks(self, row: int) -> bool:
        """Say whether this row is still to be evaluated."""
        return row not in self._results and row not in self._left_out

    def record(self, results: Sequence[RowResult]) -> None:
        """Take in rows evaluated in this trial."""
        for result in results:
            self._costs.append(result.cost_usd)
            self.recorded += 1
            self._left_out.discard(result.row)
            self._reused.discard(result.row)  # evaluated all the same, by a version that took no rows over
            if self.told is None:
                self._results[result.row] = result

    def reuse(self, results: Sequence[RowResult]) -> None:
        """Take over rows from an earlier trial of the same candidate."""
        for result in results:
            self._results[result.row] = result
            self._reused.add(result.row)

    def leave_out(self, row: int) -> None:
        """Do without a row that is not there yet: it has no score."""
        if self.lacks(row) and row in self.rows:
            self._left_out.add(row)

    def fail(self, reason: str) -> None:
        """Give the trial up; rows in flight may still be recorded for their cost."""
        self.failed = reason

    def tell(self, cost_usd: float, measures: Mapping[str, float] | None = None) -> Told:
        """Close the trial and return what the optimizer is told; a failed trial tells no scores.

        Without `measures` they are computed from the rows that are not left out.
        """
        rows = () if self.failed is not None else self.rows
        known = [self._results[row] for row in rows if row in self._results]
        scores = {result.row: result.score for result in known}
        outputs = {result.row: result.output for result in known}
        notes = {one.row: {"error": one.error, "feedback": one.feedback, "trace": one.trace} for one in known}
        if measures is None:
            measures = measures_of(known)
        told = Told(
            self.number,
            self.candidate,
            self.split,
            rows,
            tuple(map(scores.get, rows)),
            tuple(map(outputs.get, rows)),
            cost_usd,
            self.failed,
            measures,
            tuple(map(notes.get, rows)) if self.ask.traced else (),
        )
        self.own = tuple(row for row in rows if row in self._results and row not in self._reused)
        self._results.clear()
        self.told = told if self.failed is not None else _without_outputs(told)
        return told

    def summary(self) -> TrialSummary:
        """Return the finished trial. Only for one that was told."""
        told = self.told
        if told is None:
            raise RuntimeError(f"trial {self.number} is not finished")
        return TrialSummary(
            self.number,
            self.candidate,
            self.split,
            told.mean,
            told.scores,
            told.rows,
            self.cost_usd,
            self.failed,
            told.measures,
            self.ask.teacher,
        )


def _without_outputs(told: Told) -> Told:
    blank = (None,) * len(told.rows)
    return Told(
        told.number,
        told.candidate,
        told.split,
        told.rows,
        told.scores,
        blank,
        told.cost_usd,
        told.failed,
        told.measures,
    )
