"""Asynchronous successive halving over the rows of the validation split.

ASHA: Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020 (arXiv:1810.05934); the resource of
a trial is the number of rows it is scored on.
"""

from __future__ import annotations

import bisect

from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.comparison import violation
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.proposer import Make
from dspex_coordination.optimizers.row_search import RowSearch

_RUNGS = 4
_FEWEST = 2  # rows of the first rung, at least

Standing = tuple[float, float, int]  # violation, loss and number: the first is the best


class Halving(RowSearch):
    """Look at many candidates on few rows, at the best 1 / `eta` of them on `eta` times as many, and so on.

    There are at most four rungs; the last one is all rows. Whoever is among the best of its rung so far is promoted at
    once, so no worker waits for a rung to fill. When no new candidate is left, all that remain are promoted.
    """

    kind = "halving"

    def __init__(
        self, *, seed: int | None = None, max_trials: int | None = None, inner: Make | None = None, eta: int = 3
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials, inner=inner)
        if eta < 2:  # noqa: PLR2004 - one would keep everybody
            raise OptimizerError(f"{self.kind}: eta must be at least 2, got {eta}.")
        self._eta = eta

    def prepare(self) -> None:
        """Lay out the rungs."""
        sizes = [self.context.validation_rows]
        while len(sizes) < _RUNGS and _FEWEST <= -(-sizes[0] // self._eta) < sizes[0]:
            sizes.insert(0, -(-sizes[0] // self._eta))
        self._sizes = sizes
        self._rungs: list[list[Standing]] = [[] for _ in sizes]
        super().prepare()

    def least_rows(self) -> int:
        """Return the rows of the first rung."""
        return self._sizes[0]

    def learn(self, told: Told) -> None:
        """Put a result on its rung, and let the inner optimizer know unless a promotion is near."""
        if told.split == "train" or told.mean is None:
            self._proposer.settle(told)
            return
        level = self._sizes.index(self._asked_rows(told.number))
        gain = self.context.objectives[0].gain(told.measures)
        standing = (violation(told.measures, self.context.bounds), -gain, told.number)
        rung = self._rungs[level]
        bisect.insort(rung, standing)
        if level == len(self._rungs) - 1 or rung.index(standing) >= len(rung) // self._eta:
            self._proposer.settle(told)

    def propose(self, number: int) -> Ask | None:  # noqa: ARG002 - rungs decide, not numbers
        """Return the highest promotion there is, or else a new candidate, or without any the best that is left."""
        return self._promotion(self._eta) or self.newcomer() or self._promotion(1)

    def _promotion(self, eta: int) -> Ask | None:
        """Return the next look at one of the best 1 / `eta` of a rung, of the highest rung that has any left."""
        for level in range(len(self._rungs) - 2, -1, -1):
            rung, size = self._rungs[level], self._sizes[level]
            for _, _, number in rung[: len(rung) // eta]:
                candidate = self.book.asks[number].candidate
                if self.book.looks[candidate.key] == size:
                    return self.look(candidate, self._sizes[level + 1])
        return None

    def _asked_rows(self, number: int) -> int:
        rows = self.book.asks[number].rows
        return self.context.validation_rows if rows is None else len(rows)
