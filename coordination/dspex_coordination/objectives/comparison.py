"""Which of several results is the best under objectives and bounds.

Results are compared by, in this order: the number of rows (a longer look beats a lucky short one), the total violation
of the bounds, the objectives, and the trial's number, earlier first. One objective orders results by itself. Several
leave a *front* of results that none beats in every objective; of it the best is the one of the greatest weighted sum
of gains, each scaled to [0, 1] over the front, so that dollars and seconds weigh by `Objective.weight` alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from dspex_coordination.objectives.objective import Bound, Objective

Gains = tuple[float, ...]


class Result(Protocol):
    """What is compared: a trial with the rows it was scored on; a failed one has no measures."""

    @property
    def number(self) -> int:
        """The trial's number."""
        ...

    @property
    def rows(self) -> Sequence[int]:
        """The rows it was scored on."""
        ...

    @property
    def measures(self) -> Mapping[str, float]:
        """The means by name."""
        ...


class Goals(Protocol):
    """What results are compared by; a `SearchContext` is one."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """At least one."""
        ...

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """May be empty."""
        ...


R = TypeVar("R", bound=Result)


def gains(measures: Mapping[str, float], objectives: Iterable[Objective]) -> Gains:
    """Return one number an objective, larger is better. Raises OptimizerError for a measure that is missing."""
    return tuple(objective.gain(measures) for objective in objectives)


def violation(measures: Mapping[str, float], bounds: Iterable[Bound]) -> float:
    """Return the sum of what the bounds are missed by, each as a share of its limit; 0.0 if all are kept.

    Raises OptimizerError for a measure that is missing.
    """
    return math.fsum(_share(bound, measures) for bound in bounds)


def dominates(one: Gains, other: Gains) -> bool:
    """Say whether `one` is nowhere worse than `other` and somewhere better."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def measured(result: Result, goals: Goals) -> bool:
    """Say whether a result has every measure that the goals name; one of an earlier run may lack some."""
    named = [*(objective.name for objective in goals.objectives), *(bound.name for bound in goals.bounds)]
    return all(name in result.measures for name in named)


def ranked(results: Iterable[R], goals: Goals) -> list[R]:
    """Return the results best first; failed ones are left out. Raises OptimizerError for a missing measure."""
    groups: dict[tuple[int, float], list[tuple[Gains, R]]] = {}
    for result in results:
        if result.measures:
            entry = (gains(result.measures, goals.objectives), result)
            groups.setdefault(_standing(result, goals), []).append(entry)
    ordered: list[R] = []
    for standing in sorted(groups, reverse=True):
        entries = groups[standing]
        front = non_dominated([mine for mine, _ in entries]) if len(goals.objectives) > 1 else []
        ordered += _by_weight(entries, front, goals.objectives)
    return ordered


def best_of(results: Iterable[R], goals: Goals) -> R | None:
    """Return the best of the results, None if all failed. Raises OptimizerError for a missing measure."""
    leaders: Leaders[R] = Leaders(goals)
    for result in results:
        leaders.add(result)
    return leaders.best


class Leaders(Generic[R]):
    """The front of all results added so far, in memory no larger than that front; the order of adding is no matter."""

    def __init__(self, goals: Goals) -> None:
        self._goals = goals
        self._standing: tuple[int, float] = (0, -math.inf)
        self._front: list[tuple[Gains, R]] = []

    def add(self, result: R) -> None:
        """Take in a result; a failed one is none. Raises OptimizerError for a measure that is missing."""
        if not result.measures:
            return
        standing, mine = _standing(result, self._goals), gains(result.measures, self._goals.objectives)
        if standing < self._standing:
            return
        if standing > self._standing:
            self._standing, self._front = standing, []
        for theirs, other in self._front:
            if dominates(theirs, mine) or (theirs == mine and other.number < result.number):
                return
        kept = [entry for entry in self._front if not (entry[0] == mine or dominates(mine, entry[0]))]
        self._front = [*kept, (mine, result)]

    @property
    def front(self) -> list[R]:
        """The results that none other beats, by number; of equal ones the earliest."""
        return sorted((result for _, result in self._front), key=lambda result: result.number)

    @property
    def best(self) -> R | None:
        """The best result; None before there is one."""
        if not self._front:
            return None
        return _by_weight(self._front, [mine for mine, _ in self._front], self._goals.objectives)[0]


def _standing(result: Result, goals: Goals) -> tuple[int, float]:
    return len(result.rows), -violation(result.measures, goals.bounds)


def _share(bound: Bound, measures: Mapping[str, float]) -> float:
    missed = bound.violation(measures)
    if not missed:
        return 0.0
    below = bound.at_least is not None and measures[bound.name] < bound.at_least
    limit = bound.at_least if below else bound.at_most
    return missed / (abs(limit) if limit else 1.0)


def _by_weight(entries: Sequence[tuple[Gains, R]], front: Sequence[Gains], objectives: Sequence[Objective]) -> list[R]:
    if len(objectives) == 1:
        return [result for _, result in sorted(entries, key=lambda entry: (-entry[0][0], entry[1].number))]
    scales = _scales(front)
    worth = {
        id(result): math.fsum(
            objective.weight * (gain - low) / span
            for objective, gain, (low, span) in zip(objectives, mine, scales, strict=True)
        )
        for mine, result in entries
    }
    return [result for _, result in sorted(entries, key=lambda entry: (-worth[id(entry[1])], entry[1].number))]


def non_dominated(points: Sequence[Gains]) -> list[Gains]:
    """Return the distinct points that no other dominates, best in the first coordinate first."""
    front: list[Gains] = []
    for point in sorted(set(points), reverse=True):  # whatever dominates a point comes before it
        if not any(dominates(other, point) for other in front):
            front.append(point)
    return front


def _scales(front: Sequence[Gains]) -> list[tuple[float, float]]:
    return [(min(column), (max(column) - min(column)) or 1.0) for column in zip(*front, strict=True)]
