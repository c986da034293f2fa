"""Several searches side by side: their best trials, how fast they came there, and how their spaces differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_coordination.analysis.history import Step, history, reached
from dspex_coordination.analysis.run import FinishedTrial, SearchRun
from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import SweepError
from dspex_coordination.objectives import Objective


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one search ended: its best trial, its last step, and the first step as good as the threshold."""

    run: SearchRun
    best: FinishedTrial
    last: Step
    reached: Step | None


def standings(
    runs: Sequence[SearchRun], measure: str | None = None, threshold: float | None = None
) -> tuple[Objective, float, tuple[Standing, ...]]:
    """Return what is compared, the threshold and where each run stands by it.

    The measure is by default the first objective of the first run, the threshold what every run has reached: the worst
    of their bests. Raises SweepError if a run has no trial with the measure, or they judge it differently.
    """
    if not runs:
        raise SweepError("There is no sweep to compare.")
    objective = runs[0].objective(measure)
    for run in runs:
        if run.objective(objective.name).direction != objective.direction:
            raise SweepError(
                f"Sweeps {runs[0].run_id!r} and {run.run_id!r} cannot be compared by {objective.name!r}: one makes it "
                "large and the other small."
            )
    courses = [history(run, objective.name) for run in runs]
    worst = min if objective.direction == "maximize" else max
    level = worst(course[-1].best for course in courses) if threshold is None else threshold
    found = [
        Standing(run, _leader(run, course), course[-1], reached(course, objective, level))
        for run, course in zip(runs, courses, strict=True)
    ]
    return objective, level, tuple(found)


def _leader(run: SearchRun, course: Sequence[Step]) -> FinishedTrial:
    number = course[-1].leader
    return next(trial for trial in run.trials if trial.number == number)


Scores = Mapping[int, float | None]
"""The scores of one trial by row; None where the metric gave none."""


def paired_scores(one: Scores, other: Scores) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the scores of two trials on the rows on which both have one, in the order of the rows."""
    pairs = [(one[row], other[row]) for row in sorted(one.keys() & other.keys())]
    both = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return tuple(mine for mine, _ in both), tuple(theirs for _, theirs in both)


def space_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one sentence for each variable, and one for the constraints, in which the JSON of two spaces differs."""
    mine, theirs = old["variables"], new["variables"]
    changes = [f"variable {name!r} is in the second only" for name in theirs if name not in mine]
    changes += [f"variable {name!r} is in the first only" for name in mine if name not in theirs]
    for name in mine:
        if name in theirs:
            fields = sorted(mine[name].keys() | theirs[name].keys())
            differing = [f for f in fields if canonical_json(mine[name].get(f)) != canonical_json(theirs[name].get(f))]
            if differing:
                listed = ", ".join(f"{f} {mine[name].get(f)!r} and {theirs[name].get(f)!r}" for f in differing)
                changes.append(f"variable {name!r} differs: {listed}")
    rest = [part for part in sorted(old.keys() | new.keys()) if part != "variables"]
    changes += [f"the {part} differ" for part in rest if canonical_json(old.get(part)) != canonical_json(new.get(part))]
    return tuple(changes)
