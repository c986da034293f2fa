"""The course of a search: what each trial scored, and the best so far, against trials and money."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dspex_coordination.analysis.run import FinishedTrial, SearchRun
from dspex_coordination.errors import SweepError
from dspex_coordination.objectives import Leaders, Objective


@dataclass(frozen=True, slots=True)
class Step:
    """One scored trial.

    `told` is its place among all trials told, from 1; `leader` the best trial so far and `best` its measure;
    `cost_usd` what all trials up to it cost.
    """

    trial: int
    told: int
    rows: int
    value: float
    leader: int
    best: float
    cost_usd: float


def history(run: SearchRun, measure: str | None = None) -> tuple[Step, ...]:
    """Return one step a scored trial, in the order of the tells.

    `best` is the measure of the trial that leads by it alone, within the run's bounds; it gets worse where a longer
    look replaces a lucky short one. Raises SweepError if no trial has the measure.
    """
    objective = run.objective(measure)
    wanted = {id(trial) for trial in run.having(objective.name, *(bound.name for bound in run.bounds))}
    leaders: Leaders[FinishedTrial] = Leaders(replace(run, objectives=(objective,)))
    steps: list[Step] = []
    spent = 0.0
    for place, trial in enumerate(run.trials, start=1):
        spent = math.fsum((spent, trial.cost_usd))
        if id(trial) in wanted:
            leaders.add(trial)
            best = leaders.best or trial
            value, leading = trial.measures[objective.name], best.measures[objective.name]
            steps.append(Step(trial.number, place, len(trial.rows), value, best.number, leading, spent))
    if not steps:
        raise SweepError(f"No trial of sweep {run.run_id!r} has {objective.name!r} and every measure that is bounded.")
    return tuple(steps)


def reached(steps: tuple[Step, ...], objective: Objective, threshold: float) -> Step | None:
    """Return the first step whose best is as good as `threshold`, or None."""
    up = objective.direction == "maximize"
    return next((step for step in steps if (step.best >= threshold if up else step.best <= threshold)), None)
