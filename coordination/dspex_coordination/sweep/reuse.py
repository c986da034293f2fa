"""Rows that need not be paid for again: the same candidate was scored on them in a trial that is told."""

from __future__ import annotations

from collections.abc import Callable

from dspex_coordination.candidate import Candidate
from dspex_coordination.sweep.trial import Trial
from dspex_coordination.sweep.work import RowResult

Fetch = Callable[[int], list[RowResult]]
"""Returns the rows that were evaluated in the trial of a number."""


class KnownRows:
    """Which told trial has which rows of a candidate. What follows is the same in a replay as it was at first."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._trials: dict[tuple[str, str, bool], list[Trial]] = {}

    def note(self, trial: Trial) -> None:
        """Take in a trial that was told; a failed one has no scores to offer."""
        if trial.own:
            self._trials.setdefault(_what(trial), []).append(trial)

    def rows(self, candidate: Candidate, split: str) -> frozenset[int]:
        """Return the rows of a split that a candidate has a score on."""
        trials = self._trials.get((candidate.key, split, False), ())
        return frozenset(row for trial in trials for row in trial.own)

    def offer(self, trial: Trial) -> None:
        """Give a new trial the rows there are, each from the trial that was told last, unless it wants fresh ones."""
        known = self._trials.get(_what(trial), ())
        if trial.ask.fresh or not known:
            return
        lacking = {row for row in trial.rows if trial.lacks(row)}
        for earlier in reversed(known):
            wanted = lacking.intersection(earlier.own)
            if wanted:
                trial.reuse([result for result in self._fetch(earlier.number) if result.row in wanted])
                lacking -= wanted


def _what(trial: Trial) -> tuple[str, str, bool]:
    return trial.candidate.key, trial.split, trial.ask.teacher
