"""Racing: candidates meet the same rows in blocks, and who is shown to be behind is dropped.

Maron and Moore, "Hoeffding races", NIPS 1993; paired comparison by blocks as in F-Race (Birattari et al., GECCO 2002),
here with intervals of Student's t and an even share of the error for each look.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.objectives.comparison import violation
from dspex_coordination.optimizers.base import Ask, Told
from dspex_coordination.optimizers.proposer import Make
from dspex_coordination.optimizers.row_search import RowSearch

_BLOCKS = 8


@dataclass
class Runner:
    """A candidate in the race: its gain on each row known, and the latest result."""

    candidate: Candidate
    latest: Told
    gains: Mapping[int, float] = field(default_factory=dict)


class Racing(RowSearch):
    """Keep up to `width` candidates in the race, a block of rows at a time, the one that is furthest ahead first.

    A candidate is dropped when a rival is better on the rows both have seen, with an error of at most `alpha` over all
    its looks, or when it could not reach the best one even with a perfect score on all rows it has not seen (for scores
    in [0, 1]). Who sees all rows is finished. What is saved is spent on new candidates. Needs `score` as the objective:
    only scores are known row by row.
    """

    kind = "racing"

    def __init__(
        self,
        *,
        seed: int | None = None,
        max_trials: int | None = None,
        inner: Make | None = None,
        width: int = 4,
        block: int | None = None,
        alpha: float = 0.2,
    ) -> None:
        super().__init__(seed=seed, max_trials=max_trials, inner=inner)
        if width < 1 or (block is not None and block < 1) or not 0 < alpha < 1:
            raise OptimizerError(
                f"{self.kind}: width and block must be at least 1 and alpha between 0 and 1, "
                f"got {width}, {block} and {alpha}."
            )
        self._width, self._given_block, self._alpha = width, block, alpha

    def prepare(self) -> None:
        """Line up. Raises OptimizerError for an objective other than the score."""
        objective, rows = self.context.objectives[0], self.context.validation_rows
        if objective.name != "score":
            raise OptimizerError(
                f"{self.name} needs 'score', the only measure known row by row, but the objective is "
                f"{objective.name!r}; use 'halving'."
            )
        self._block = min(rows, self._given_block or -(-rows // _BLOCKS))
        self._sign = 1.0 if objective.direction == "maximize" else -1.0
        self._field: dict[str, Runner] = {}
        self._winner: Runner | None = None
        self._in_unit = True
        super().prepare()

    def least_rows(self) -> int:
        """Return the rows of a block."""
        return self._block

    def learn(self, told: Told) -> None:
        """Take in a look, and drop whoever is shown to be behind."""
        if told.split == "train" or told.mean is None:
            self._leave(told)
            return
        known = {row: score for row, score in zip(told.rows, told.scores, strict=True) if score is not None}
        self._in_unit = self._in_unit and all(0.0 <= score <= 1.0 for score in known.values())
        runner = Runner(
            told.candidate, self.book.told[told.number], {row: self._sign * score for row, score in known.items()}
        )
        if self._asked_all(told):
            self._leave(told)
            best = self.book.best
            if self._winner is None or (best is not None and best.number == told.number):
                self._winner = runner
        else:
            self._field[told.candidate.key] = runner
        for one in list(self._field.values()):
            if self._is_behind(one):
                self._leave(one.latest)

    def propose(self, number: int) -> Ask | None:  # noqa: ARG002 - the race decides, not numbers
        """Return a new candidate while there is room in the race, or else the next block of the best one in it."""
        out = {ask.candidate.key for ask in self.book.pending.values() if ask.split == "validation"}
        waiting = [runner for key, runner in self._field.items() if key not in out]
        if len(waiting) + len(out) < self._width or not waiting:
            newcomer = self.newcomer()
            if newcomer is not None:
                return newcomer
        if not waiting:
            return None
        first = max(waiting, key=lambda runner: (self._lead(runner), -runner.latest.number))
        return self.look(first.candidate, self.book.looks[first.candidate.key] + self._block)

    def _lead(self, runner: Runner) -> float:
        """Return by how much a runner is ahead of the best finished one on the rows that it has seen."""
        others = {} if self._winner is None else self._winner.gains
        return statistics.fmean(gain - others.get(row, 0.0) for row, gain in runner.gains.items())

    def _asked_all(self, told: Told) -> bool:
        return self.book.looks[told.candidate.key] >= self.context.validation_rows

    def _leave(self, told: Told) -> None:
        self._field.pop(told.candidate.key, None)
        self._proposer.settle(told)

    def _is_behind(self, runner: Runner) -> bool:
        rivals = [one for one in self._field.values() if one is not runner and len(one.gains) >= len(runner.gains)]
        if self._winner is not None:
            if self._is_hopeless(runner, self._winner):
                return True
            rivals.append(self._winner)
        return any(self._beats(rival, runner) for rival in rivals)

    def _beats(self, rival: Runner, runner: Runner) -> bool:
        bounds = self.context.bounds
        if violation(rival.latest.measures, bounds) > violation(runner.latest.measures, bounds):
            return False
        ahead = [rival.gains[row] - gain for row, gain in runner.gains.items() if row in rival.gains]
        if not ahead or sum(ahead) <= 0:
            return False
        ahead.append(-max(map(abs, ahead)))  # an imagined row against the rival: a few equal rows prove nothing
        looks = -(-self.context.validation_rows // self._block)
        quantile = float(stdtrit(len(ahead) - 1, 1 - self._alpha / looks))
        return statistics.fmean(ahead) > quantile * statistics.stdev(ahead) / math.sqrt(len(ahead))

    def _is_hopeless(self, runner: Runner, winner: Runner) -> bool:
        if not self._in_unit or violation(winner.latest.measures, self.context.bounds) > 0:
            return False
        perfect = max(0.0, self._sign)
        rest = self.context.validation_rows - len(runner.gains)
        best = (math.fsum(runner.gains.values()) + rest * perfect) / self.context.validation_rows
        return best < statistics.fmean(winner.gains.values())
