"""Grid search: every combination of a few values of each variable, in a seeded order."""

from __future__ import annotations

import itertools

from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import Ask
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer

_LEVELS = 5
_COUNTED = 10_000  # a larger grid is not counted to its end


class Grid(SearchOptimizer):
    """The default, the early candidates, then all feasible combinations of up to `levels` values of each variable.

    Without `levels` an unordered variable has all its options and any other one up to five values, or as many as the
    largest of those has options. So a finite space of small variables is searched completely. The grid is counted
    first: `start` raises OptimizerError, with the number and what to do, if it does not fit into `max_trials`. The
    order is random, so that a search that ends early has seen a bit of everything.
    """

    name = "grid"

    def __init__(self, *, seed: int | None = None, max_trials: int | None = None, levels: int | None = None) -> None:
        super().__init__(seed=seed, max_trials=max_trials)
        if levels is not None and levels < 1:
            raise OptimizerError(f"{self.name}: levels must be at least 1, got {levels}.")
        self._levels = levels

    def prepare(self) -> None:
        """Lay out the grid. Raises OptimizerError for one of more points than trials."""
        levels, limit = self._chosen_levels(), self.context.max_trials
        opening = {candidate.key for candidate in self.opening}
        most = max(limit, _COUNTED)
        points = [one for one in itertools.islice(self.space.every(levels), most + 1) if one.key not in opening]
        needed = len(points) + len(opening)
        if needed > limit:
            raise OptimizerError(self._too_many(levels, needed, counted=len(points) <= most))
        seeded(self.context.seed, self.name).shuffle(points)
        self._points = points

    def propose(self, number: int) -> Ask | None:
        """Return the next point of the grid."""
        position = number - len(self.opening)
        return Ask(self._points[position]) if position < len(self._points) else None

    def _chosen_levels(self) -> int:
        variables = [self.space.variables[name] for name in self.space.free]
        options = [one.cardinality or 0 for one in variables if one.scale == "nominal"]
        return max([_LEVELS, *options]) if self._levels is None else self._levels

    def _too_many(self, levels: int, needed: int, *, counted: bool) -> str:
        limit = self.context.max_trials
        fewer = next((less for less in range(levels - 1, 1, -1) if self._fits(less)), None)
        advice = f"set levels={fewer} (now {levels}), " if fewer is not None else ""
        return (
            f"{self.name}: this grid needs {needed if counted else f'more than {needed}'} trials, but max_trials is "
            f"{limit}. {f'Allow {needed} trials, ' if counted else ''}{advice}or use the optimizer 'sobol' or 'random'."
        )

    def _fits(self, levels: int) -> bool:
        limit = self.context.max_trials
        return sum(1 for _ in itertools.islice(self.space.every(levels), limit + 1)) + len(self.opening) <= limit
