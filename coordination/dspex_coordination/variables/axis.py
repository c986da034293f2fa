"""`Axis`: the distribution of a number between two bounds, as distribution function and quantile."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
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
    _start: float = field(init=False, repr=False)
    _length: float = field(init=False, repr=False)
    _bell: NormalDist | None = field(init=False, repr=False)
    _below: float = field(init=False, repr=False)
    """The part of the whole bell that lies below `low`; `_mass` is the part between the bounds."""
    _mass: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        start, end = self._scaled(self.low), self._scaled(self.high)
        bell = None if self.mode is None else NormalDist(self._scaled(self.mode), (end - start) * SPREAD)
        below, above = (0.0, 1.0) if bell is None else (bell.cdf(start), bell.cdf(end))
        for name, value in (
            ("_start", start),
            ("_length", end - start),
            ("_bell", bell),
            ("_below", below),
            ("_mass", above - below),
        ):
            object.__setattr__(self, name, value)

    def portion(self, value: float) -> float:
        """Return the chance of a number up to `value`, in [0, 1]."""
        point = self._scaled(min(self.high, max(self.low, value)))
        if self._bell is None:
            return min(1.0, max(0.0, (point - self._start) / self._length))
        return min(1.0, max(0.0, (self._bell.cdf(point) - self._below) / self._mass))

    def quantile(self, portion: float) -> float:
        """Return the number with `portion` (in [0, 1]) of the chance below it; the inverse of `portion`."""
        if portion <= 0.0:
            return self.low
        if portion >= 1.0:
            return self.high
        if self._bell is None:
            point = self._start + self._length * portion
        else:
            point = self._bell.inv_cdf(self._below + self._mass * portion)
        return min(self.high, max(self.low, math.exp(point) if self.log else point))

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value
