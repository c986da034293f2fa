"""Parallel coordinates: every trial as a line through the axes of its variables."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_coordination.analysis.dimension import Dimension, dimensions
from dspex_coordination.analysis.run import SearchRun
from dspex_coordination.errors import SweepError


@dataclass(frozen=True, slots=True)
class ParallelCoordinates:
    """The axes, and for each trial its number and the measure, in the order of `Dimension.positions`."""

    axes: tuple[Dimension, ...]
    trials: tuple[int, ...]
    values: tuple[float, ...]


def parallel_coordinates(run: SearchRun, measure: str | None = None) -> ParallelCoordinates:
    """Return the axes of the run's space with the trials that have the measure.

    Raises SweepError if there is no such trial, or the space has no variable.
    """
    name = run.objective(measure).name
    trials = run.having(name)
    axes = dimensions(run.space, [trial.candidate for trial in trials])
    if not axes:
        raise SweepError(f"The space of sweep {run.run_id!r} has no variable, so there are no axes.")
    return ParallelCoordinates(
        axes, tuple(trial.number for trial in trials), tuple(trial.measures[name] for trial in trials)
    )
