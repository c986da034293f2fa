"""Latin hypercube search: points that cover every single variable evenly, however many there will be."""

from __future__ import annotations

import random
from collections.abc import Iterator

from dspex_coordination.optimizers.draws import seeded
from dspex_coordination.optimizers.point_search import PointSearch
from dspex_coordination.sampling.points import Point


class Latin(PointSearch):
    """Search along nested Latin hypercubes: of 1, 2, 4, 8, ... points each lies in another of as many parts of an axis.

    So the design need not know the number of trials, and a search can be extended. McKay, Beckman and Conover 1979;
    doubled as by Sallaberry, Helton and Hora, "Extension of Latin hypercube samples with correlated variables", 2008.
    """

    name = "latin"

    def points(self, dimensions: int) -> Iterator[Point]:
        """Yield the points."""
        return nested_points(dimensions, seeded(self.context.seed, self.name))


def nested_points(dimensions: int, rng: random.Random) -> Iterator[Point]:
    """Yield points without end, of which the first 2**m are a Latin hypercube for every m."""
    points: list[list[float]] = []
    while True:
        parts = max(1, 2 * len(points))
        taken = [{int(point[axis] * parts) for point in points} for axis in range(dimensions)]
        free = [[part for part in range(parts) if part not in taken[axis]] for axis in range(dimensions)]
        columns = [rng.sample(column, len(column)) for column in free]
        added = [[(column[row] + rng.random()) / parts for column in columns] for row in range(max(1, len(points)))]
        points += added
        yield from added
