"""Grid search: every combination of a few values of each variable, in a seeded order."""

from __future__ import annotations

from dspex_coordination.errors import OptimizerError, SpaceError
from dspex_coordination.optimizers.base import Ask
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.sampling import grid

_LEVELS = 5


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
        try:
            _, listed = grid(self.space, limit, levels)
        except SpaceError as error:
            raise OptimizerError(
                f"{self.name}, with up to {levels} values of a variable and max_trials={limit}: {error}"
            ) from error
        opening = {candidate.key for candidate in self.opening}
        self._points = [point for point in listed if point.key not in opening]
        needed = len(opening) + len(self._points)
        if needed > limit:
            raise OptimizerError(
                f"{self.name}: {len(self._points)} points and {len(opening)} candidates to begin with need {needed} "
                f"trials, but max_trials is {limit}; allow {needed}, or take fewer levels than {levels}."
            )
        seeded(self.context.seed, self.name).shuffle(self._points)

    def propose(self, number: int) -> Ask | None:
        """Return the next point of the grid."""
        position = number - len(self.opening)
        return Ask(self._points[position]) if position < len(self._points) else None

    def _chosen_levels(self) -> int:
        if self._levels is not None:
            return self._levels
        nominal = [self.space.variables[name] for name in self.space.free]
        return max([_LEVELS, *(one.cardinality or 0 for one in nominal if one.scale == "nominal")])
