"""`PointSearch`: the base of searches along a sequence of points of the unit cube."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Ask
from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.sampling import axes, candidate_at
from dspex_coordination.sampling.points import Point


class PointSearch(SearchOptimizer):
    """Trial i after the opening is the candidate at point i: its variables by their distributions, repaired if need be.

    It never waits for a result, and depends on the seed alone, not on `max_trials`. Where a point gives a candidate
    seen before, a random one takes its place.
    """

    @abstractmethod
    def points(self, dimensions: int) -> Iterator[Point]:
        """Yield points with a coordinate in [0, 1] for each dimension, always the same."""

    def prepare(self) -> None:
        """Begin the sequence."""
        self._sequence = self.points(len(axes(self.space)))
        self._points: list[Point] = []

    def propose(self, number: int) -> Ask | None:
        """Return the candidate at the next point."""
        position = number - len(self.opening)
        while len(self._points) <= position:
            self._points.append(next(self._sequence))
        return self.unseen(lambda attempt: self._drawn(number, attempt, self._points[position]))

    def _drawn(self, number: int, attempt: int, point: Point) -> Candidate | None:
        rng = seeded(self.context.seed, self.name, number, attempt)
        return self.space.sample(rng) if attempt else candidate_at(self.space, point, rng)
