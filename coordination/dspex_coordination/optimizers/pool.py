"""`Pool`: the fittest results of a search so far, from which populations breed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.comparison import violation
from dspex_coordination.optimizers.base import SearchContext, Told

_PRIOR_ROWS = 2.0  # how many rows of the mean result a result is mixed with


@dataclass(frozen=True, slots=True)
class Entry:
    """A result that may breed: its gain (larger is better), by how much it breaks bounds, and on how many rows."""

    candidate: Candidate
    gain: float
    violation: float
    rows: int
    number: int


class Pool:
    """The `size` fittest of all added results, the fittest first; later results of a candidate replace earlier ones.

    Results that break bounds less come first, then those with the larger gain. A gain counts only as far as its rows
    carry it: it is drawn towards the mean of all gains as if that had been seen on two more rows, so that a lucky few
    rows do not beat a long look. With equal numbers of rows that changes nothing. Raises OptimizerError for a search
    with several objectives.
    """

    def __init__(self, owner: str, context: SearchContext, size: int) -> None:
        if len(context.objectives) > 1:
            names = ", ".join(objective.name for objective in context.objectives)
            raise OptimizerError(f"{owner} takes one objective, this search has {names}; use the optimizer 'nsga2'.")
        self._context, self._size = context, size
        self._entries: list[Entry] = []
        self._total, self._count = 0.0, 0

    @property
    def entries(self) -> Sequence[Entry]:
        """The fittest first."""
        return self._entries

    def add(self, told: Told) -> None:
        """Take in a result; a failed one and one on train rows is none."""
        if told.split != "validation" or told.mean is None:
            return
        gain = self._context.objectives[0].gain(told.measures)
        self._total, self._count = self._total + gain, self._count + 1
        broken = violation(told.measures, self._context.bounds)
        entry = Entry(told.candidate, gain, broken, len(told.rows), told.number)
        kept = [one for one in self._entries if one.candidate.key != told.candidate.key]
        self._entries = sorted([*kept, entry], key=self._fitness, reverse=True)[: self._size]

    def _fitness(self, entry: Entry) -> tuple[float, float]:
        prior = self._total / self._count
        weight = entry.rows / (entry.rows + _PRIOR_ROWS)
        return -entry.violation, prior + weight * (entry.gain - prior)
