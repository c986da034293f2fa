"""What arms are compared by, and how a difference in it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """`sign` is 1 where more is better, else -1; told are values times `scale`, with so many `digits`, in `unit`."""

    name: str
    sign: int
    scale: float
    digits: int
    unit: str

    def told(self, value: float) -> str:
        """Return a difference in words, without the unit."""
        return f"{self.scale * value:+,.{self.digits}f}" if math.isfinite(value) else "unknown"

    def told_value(self, value: float) -> str:
        """Return a value in words, with the unit."""
        unit = "%" if self.unit == "points" else self.unit
        return f"{self.scale * value:,.{self.digits}f} {unit}" if math.isfinite(value) else "-"


METRICS: Final = {
    one.name: one
    for one in (
        Metric(name="success", sign=1, scale=100, digits=1, unit="points"),
        Metric(name="score", sign=1, scale=100, digits=1, unit="points"),
        Metric(name="latency", sign=-1, scale=1000, digits=1, unit="ms"),
        Metric(name="cost", sign=-1, scale=1000, digits=4, unit="US dollars per 1,000 requests"),
    )
}
"""`success`: of the requests that a version could have answered, those it did. `score`: the reward that feedback gave,
of the requests that have one. `latency` and `cost` are of answers alone."""
