"""Health of a system: a score from its parts, a band, and all that explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dspex_agents.monitoring.alert import Alert
from dspex_agents.monitoring.anomalies import Anomaly, Trend
from dspex_agents.monitoring.system_probe import SystemFigures
from dspex_agents.monitoring.thresholds import Thresholds

Band = Literal["excellent", "good", "fair", "poor", "critical", "unknown"]
_BANDS: tuple[tuple[float, Band], ...] = ((90, "excellent"), (75, "good"), (50, "fair"), (25, "poor"))
_FULL = 100.0
_BUSY_CPU = 50.0  # a CPU that is busy all the time slows the work down, a full memory or disk ends it
_TROUBLED = 0.5  # how far an agent that is up but in trouble counts as healthy


@dataclass(frozen=True, slots=True)
class Health:
    """Health at the time `at` (seconds since the epoch).

    `score` from 0 to 100 is that of the worst of the `parts`, so that nothing that is well hides what is not:
    `agents`, percent of those that should be up that are; `work`, the share of them that does its work well, one in
    trouble counting half; `cpu`, `memory` and `disk` of the node, 100 up to the threshold, and falling above it (to
    50, 0 and 0 at full use). Parts that are not known are left out. With a critical alert the band is "good" at best.
    `problems` says why the judgement may not hold; where there is no recent sample the band is "unknown".
    """

    score: float
    band: Band
    agents: int
    alive: int
    alerts: tuple[Alert, ...]
    parts: Mapping[str, float] = field(default_factory=dict)
    anomalies: tuple[Anomaly, ...] = ()
    trends: Mapping[str, Trend] = field(default_factory=dict)
    at: float = 0.0
    problems: tuple[str, ...] = ()


def parts_of(agents: int, alive: int, troubled: int, system: SystemFigures, limits: Thresholds) -> dict[str, float]:
    """Return the score of each part that is known. `troubled` of the `alive` agents have an alert."""
    parts = {}
    if agents:
        parts["agents"] = _FULL * alive / agents
    if alive:
        parts["work"] = _FULL * (alive - _TROUBLED * troubled) / alive
    usages = (
        ("cpu", system.cpu_usage, limits.cpu_usage, _BUSY_CPU),
        ("memory", system.memory_usage, limits.memory_usage, 0.0),
        ("disk", system.disk_usage, limits.disk_usage, 0.0),
    )
    for part, usage, limit, at_full in usages:
        if usage is not None:
            parts[part] = _left(usage, limit, at_full)
    return {part: round(score, 1) for part, score in parts.items()}


def score_of(parts: Mapping[str, float]) -> float:
    """Return the score of the worst part; 100 where nothing is known to be wrong."""
    return min(parts.values(), default=_FULL)


def band_of(score: float, alerts: tuple[Alert, ...]) -> Band:
    """Return the band of a score beside its alerts."""
    if score >= _BANDS[0][0] and any(alert.severity == "critical" for alert in alerts):
        return "good"
    for bound, name in _BANDS:
        if score >= bound:
            return name
    return "critical"


def _left(usage: float, limit: float, at_full: float) -> float:
    if usage <= limit:
        return _FULL
    return _FULL - (_FULL - at_full) * (usage - limit) / (_FULL - limit)
