"""What is unusual: a value far from those before it, and the way a figure goes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dspex_agents.errors import SpecError
from dspex_agents.sensors.metric_sensor import MetricRule, MetricWatch

Trend = Literal["unknown", "steady", "rising", "falling"]
WATCHED: Mapping[str, float] = {"memory_usage": 1.0, "agents": 1.0, "error_rate": 1.0}
"""The figures watched, and the change below which a deviation is none: percentage points, agents, percentage points."""
TREND_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A value beyond `bound`, which is some standard deviations from the mean of those before it."""

    figure: str
    value: float
    mean: float
    deviation: float
    bound: float

    def __str__(self) -> str:
        usual = f"usually {self.mean:.1f}, give or take {self.deviation:.1f}"
        return f"{self.figure} is {self.value:.1f}, {usual}"


class AnomalyWatch:
    """Pure: told the watched figures of each sample. A figure that is not known is left out, not taken as 0."""

    def __init__(self, sigmas: float = 3.0, min_samples: int = 10, history: int = 100) -> None:
        """`sigmas` standard deviations over at least `min_samples` of the last `history`. Raises SpecError."""
        rule = MetricRule(sigmas=sigmas, min_samples=min_samples, history=history, cooldown_s=0.0)
        self._watches = {figure: MetricWatch(rule) for figure in WATCHED}

    def observe(self, figures: Mapping[str, float | None], now: float) -> tuple[Anomaly, ...]:
        """Judge each watched figure against the ones before it, then remember it."""
        return tuple(
            Anomaly(figure, finding.value, finding.mean, finding.deviation or 0.0, finding.bound)
            for figure, watch in self._watches.items()
            if (value := figures.get(figure)) is not None
            for finding in watch.observe(value, now)
            if finding.mean is not None and abs(value - finding.mean) >= WATCHED[figure]
        )


def trend(values: Sequence[float | None], tolerance: float = 0.1, floor: float = 0.0) -> Trend:
    """Return which way the values go: the mean of the later half against that of the earlier one.

    A difference of up to `tolerance` of the earlier mean, or up to `floor`, is steady. Of an odd number the middle
    value is left out; values that are not known are too. Fewer than two values give "unknown". Raises SpecError.
    """
    if not tolerance >= 0 or not floor >= 0:
        raise SpecError(f"trend: tolerance and floor must not be negative, got {tolerance!r} and {floor!r}.")
    known = [value for value in values if value is not None]
    half = len(known) // 2
    if not half:
        return "unknown"
    before, after = statistics.fmean(known[:half]), statistics.fmean(known[-half:])
    if abs(after - before) <= max(floor, tolerance * abs(before)):
        return "steady"
    return "rising" if after > before else "falling"
