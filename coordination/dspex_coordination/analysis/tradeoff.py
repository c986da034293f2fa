"""Two measures of every trial against each other, and which trials no other beats in both."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dspex_coordination.analysis.run import FinishedTrial, SearchRun
from dspex_coordination.errors import SweepError
from dspex_coordination.objectives import Leaders


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """One trial in the plane of two measures; `leads` if it is on the front, `feasible` if it keeps all bounds."""

    trial: int
    x: float
    y: float
    rows: int
    leads: bool
    feasible: bool


def tradeoffs(run: SearchRun, x: str, y: str) -> tuple[Tradeoff, ...]:
    """Return every scored trial with both measures, by number.

    The front is that of the trials with the longest look that keep the run's bounds best, as the search itself counts.
    Raises SweepError for one measure against itself, or if no trial has both.
    """
    if x == y:
        raise SweepError(f"A front needs two different measures, got {x!r} twice; there are {', '.join(run.measures)}.")
    pair = (run.objective(x), run.objective(y))
    trials = run.having(x, y, *(bound.name for bound in run.bounds))
    if not trials:
        raise SweepError(f"No trial of sweep {run.run_id!r} has both {x!r} and {y!r}.")
    leaders: Leaders[FinishedTrial] = Leaders(replace(run, objectives=pair))
    for trial in trials:
        leaders.add(trial)
    front = {trial.number for trial in leaders.front}
    points = (
        Tradeoff(
            trial.number,
            trial.measures[x],
            trial.measures[y],
            len(trial.rows),
            leads=trial.number in front,
            feasible=all(bound.violation(trial.measures) == 0 for bound in run.bounds),
        )
        for trial in trials
    )
    return tuple(sorted(points, key=lambda point: point.trial))
