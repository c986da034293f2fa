"""`Axis`: the distribution of a number between two bounds, as distribution function and quantile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

SPREAD = 0.25  # standard deviation of the normal distribution, as a part of the distance between the bounds


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers from `low` to `high`, even in themselves or, with `log` (needs low > 0), in their logarithm.

    With a `mode` they are normally distributed around it instead, cut off at the bounds: the standard deviation is a
    quarter of the distance between the bounds (in the logarithm with `log`).
    """

    low: float
    high: float
    log: bool = False
    mode: float | None = None

    def portion(self, value: float) -> float:
        """Return the chance of a number up to `value`, in [0, 1]."""
        start, end = self._ends
        point = self._scaled(min(self.high, max(self.low, value)))
        if self.mode is None:
            return min(1.0, max(0.0, (point - start) / (end - start)))
        bell, below, mass = self._bell
        return min(1.0, max(0.0, (bell.cdf(point) - below) / mass))

    def quantile(self, portion: float) -> float:
        """Return the number with `portion` (in [0, 1]) of the chance below it; the inverse of `portion`."""
        if portion <= 0.0:
            return self.low
        if portion >= 1.0:
            return self.high
        start, end = self._ends
        if self.mode is None:
            point = start + (end - start) * portion
        else:
            bell, below, mass = self._bell
            point = bell.inv_cdf(below + mass * portion)
        return min(self.high, max(self.low, math.exp(point) if self.log else point))

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value

    @property
    def _ends(self) -> tuple[float, float]:
        return self._scaled(self.low), self._scaled(self.high)

    @property
    def _bell(self) -> tuple[NormalDist, float, float]:
        """The whole bell, the mass below the lower bound and the mass between the bounds."""
        start, end = self._ends
        bell = NormalDist(self._scaled(self.low if self.mode is None else self.mode), (end - start) * SPREAD)
        below = bell.cdf(start)
        return bell, below, bell.cdf(end) - below
