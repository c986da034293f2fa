"""`search_run`: a recorded sweep as what its analysis looks at."""

from __future__ import annotations

from collections.abc import Sequence

from dspex_coordination.analysis.run import FinishedTrial, SearchRun
from dspex_coordination.objectives import SCORE, Bound, Objective
from dspex_coordination.sweep.record import SweepRecord, TrialRecord


def search_run(record: SweepRecord, trials: Sequence[TrialRecord]) -> SearchRun:
    """Return the finished trials in the order of their ends, errands too, with what they are compared by."""
    objectives = tuple(Objective(**one) for one in record.config.get("objectives", ()))
    bounds = tuple(Bound(**one) for one in record.config.get("bounds", ()))
    ended = sorted((one for one in trials if one.told_at is not None), key=lambda one: (one.told_at, one.number))
    finished = tuple(_finished(record, one) for one in ended)
    return SearchRun(record.run_id, record.config["space"], finished, objectives or (SCORE,), bounds)


def _finished(record: SweepRecord, trial: TrialRecord) -> FinishedTrial:
    rows = record.rows_of(trial)
    told = trial.measures, trial.cost_usd, trial.failed
    return FinishedTrial(trial.number, trial.candidate, rows, *told, trial.split, trial.teacher)
