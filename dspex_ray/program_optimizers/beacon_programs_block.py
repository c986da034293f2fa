"""`Block`: the validation rows on which candidates are looked at first, and who deserves a look at all of them."""

from __future__ import annotations

import math
from statistics import fmean, stdev

from dspex_coordination.optimizers.base import SearchContext, Told
from dspex_coordination.optimizers.draws import seeded

_MANY_ROWS = 64  # validation rows from which on a first look at some of them saves more than it misleads
_LEAST_ROWS = 16
_SHARE = 4  # a first look is at a fourth of the rows


class Block:
    """The same rows for all candidates, drawn with the seed; `rows` is None where each look is at all rows.

    That is so for few validation rows, unless `size` says how many come first, and for other objectives than the score
    alone, the only measure known row by row.
    """

    def __init__(self, context: SearchContext, size: int | None = None) -> None:
        total = context.validation_rows
        if size is None:
            size = max(_LEAST_ROWS, -(-total // _SHARE)) if total >= _MANY_ROWS else total
        by_score = [objective.name for objective in context.objectives] == ["score"]
        self._sign = 1.0 if context.objectives[0].direction == "maximize" else -1.0
        drawn = seeded(context.seed, "block").sample(range(total), min(size, total))
        self.rows = tuple(sorted(drawn)) if by_score and len(drawn) < total else None

    def promises(self, told: Told, best: Told | None) -> bool:
        """Return whether a first look makes it likely enough that a look at all rows finds a new best.

        It does not if it is behind the best on the rows that both have seen by a standard error of the difference, or
        did the very same on each.
        """
        if self.rows is None or told.mean is None or len(told.rows) > len(self.rows):
            return False
        if best is None or len(best.rows) <= len(self.rows):
            return True
        known = dict(zip(best.rows, best.scores, strict=True))
        ahead = [
            self._sign * (score - other)
            for row, score in zip(told.rows, told.scores, strict=True)
            if score is not None and (other := known.get(row)) is not None
        ]
        margin = stdev(ahead) / math.sqrt(len(ahead)) if len(ahead) > 1 else 0.0
        return bool(ahead) and fmean(ahead) + margin > 0
