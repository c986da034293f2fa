"""`Scoreboard`: how far a sweep has come, counted trial by trial as they are told."""

from __future__ import annotations

from math import fsum

from dspex_coordination.objectives import Leaders
from dspex_coordination.optimizers.base import SearchContext, Told
from dspex_coordination.sweep.stop_rules import Standing
from dspex_coordination.sweep.trial import Trial


class Scoreboard:
    """Counts of the trials told; `leaders` is the front of the validation trials."""

    def __init__(self, context: SearchContext) -> None:
        self.leaders: Leaders[Told] = Leaders(context)
        self._front: tuple[int, ...] = ()
        self._trials = self._since = self._calls = self._rows = 0
        self._cost = 0.0

    def note(self, trial: Trial) -> None:
        """Take in a trial that was just told.

        What a failed one cost is no part of it: how far it came before it failed depends on the workers.
        """
        told = trial.told
        if told is None:
            raise RuntimeError(f"trial {trial.number} is not told")
        self._trials += not trial.is_aside
        self._since += not trial.is_aside
        if trial.failed is not None:
            return
        self._calls += trial.calls
        self._rows += 0 if told.split == "errand" else len(trial.own)
        self._cost = fsum((self._cost, told.cost_usd))
        if told.split == "validation" and told.measures:
            self.leaders.add(told)
            front = tuple(one.number for one in self.leaders.front)
            if front != self._front:
                self._front, self._since = front, 0

    def standing(self, seconds: float) -> Standing:
        """Return where the sweep stands by the trials told."""
        best = self.leaders.best
        return Standing(
            self._trials,
            self._since,
            None if best is None else best.mean,
            self._cost,
            self._calls,
            self._rows,
            seconds,
        )
