"""`Block`: on which validation rows candidates are looked at first, and who deserves a look at more of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean, stdev

from dspex_coordination.optimizers.base import SearchContext, Told
from dspex_coordination.optimizers.draws import seeded

_LEAST_ROWS = 16
_CLEAR = 2.0  # standard errors
_PARTS = 8  # a first look is at an eighth of the rows, each further one at twice as many


class Block:
    """The same rows for all candidates, in an order drawn with the seed: first a few, then ever twice as many.

    `rows` are the first ones; None where each look is at all rows. That is so for few validation rows, unless `size`
    says how many come first, and for other objectives than the score alone, the only measure known row by row.
    """

    def __init__(self, context: SearchContext, size: int | None = None) -> None:
        total = context.validation_rows
        if size is None:
            size = max(_LEAST_ROWS, -(-total // _PARTS))
        by_score = [objective.name for objective in context.objectives] == ["score"]
        self.sign = 1.0 if context.objectives[0].direction == "maximize" else -1.0
        self._order = seeded(context.seed, "block").sample(range(total), total)
        self.rows = self._first(size) if by_score and 2 * size <= total else None

    def next_rows(self, told: Told) -> tuple[int, ...] | None:
        """Return the rows of the look that may follow this one; None for all."""
        size = 2 * len(told.rows)
        return self._first(size) if size < len(self._order) else None

    def promises(self, told: Told, others: Iterable[Told]) -> bool:
        """Return whether this look makes it likely enough that a look at all rows finds a new best.

        It does not if it is behind the best of the others that saw as many rows, on the rows that both have seen, by a
        standard error of the difference, or did the very same on each.
        """
        if self.rows is None or told.mean is None or len(told.rows) >= len(self._order):
            return False
        ahead = min(
            (self.ahead(told, other) for other in others if self._is_rival(other, told)), key=fmean, default=None
        )
        if ahead is None:
            return True
        margin = stdev(ahead) / math.sqrt(len(ahead)) if len(ahead) > 1 else 0.0
        return fmean(ahead) + margin > 0

    def _is_rival(self, other: Told, told: Told) -> bool:
        """Return whether the other saw as many rows; of two that did the very same on as many, the earlier is one."""
        ahead = self.ahead(told, other)
        if other.number == told.number or len(other.rows) < len(told.rows) or not ahead:
            return False
        return any(ahead) or len(other.rows) > len(told.rows) or other.number < told.number

    def is_clear(self, told: Told, best: Told) -> bool:
        """Return whether a look is ahead of the best one by two standard errors of the difference."""
        ahead = self.ahead(told, best)
        return len(ahead) > 1 and fmean(ahead) > _CLEAR * stdev(ahead) / math.sqrt(len(ahead))

    def gains(self, told: Told) -> list[float]:
        """Return the scores of a look, larger is better."""
        return [self.sign * score for score in told.scores if score is not None]

    def middle(self, all_told: Iterable[Told]) -> float:
        """Return the mean gain of all results; 0 if there are none."""
        means = [self.sign * told.mean for told in all_told if told.mean is not None]
        return fmean(means) if means else 0.0

    def ahead(self, told: Told, other: Told) -> list[float]:
        """Return by how much one is ahead of another, row by row, where both have a score."""
        known = dict(zip(other.rows, other.scores, strict=True))
        pairs = [(score, known.get(row)) for row, score in zip(told.rows, told.scores, strict=True)]
        return [self.sign * (mine - theirs) for mine, theirs in pairs if mine is not None and theirs is not None]

    def _first(self, size: int) -> tuple[int, ...]:
        return tuple(sorted(self._order[:size]))
