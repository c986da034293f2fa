"""Sobol search: points that fill the space evenly in all variables together."""

from __future__ import annotations

from collections.abc import Iterator

from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.point_search import PointSearch
from dspex_coordination.sampling.points import MAX_SOBOL, Point, sobol_points


class Sobol(PointSearch):
    """Search along a scrambled Sobol sequence (Sobol 1967, Owen 1998); most even after a power of two of trials.

    Raises OptimizerError from `start` for a space of more than 21,201 variables.
    """

    name = "sobol"

    def points(self, dimensions: int) -> Iterator[Point]:
        """Yield the sequence."""
        if dimensions > MAX_SOBOL:
            raise OptimizerError(
                f"{self.name}: a Sobol sequence has up to {MAX_SOBOL} variables, this space {dimensions}; use 'random'."
            )
        return sobol_points(dimensions, self.context.seed)
