"""Vital signs of a system: a score of what is beyond its limits or unusual, and one word for it."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dspex_agents.errors import SpecError
from dspex_agents.monitoring.anomalies import TREND_SAMPLES, Anomaly, AnomalyWatch, Trend, trend
from dspex_agents.monitoring.system_probe import SystemFigures

VitalStatus = Literal["ok", "warning", "critical", "emergency"]
_OK, _WARNING, _CRITICAL = 90.0, 70.0, 50.0
_FREE_USAGE = 70.0
_FULL = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalLimits:
    """What is allowed: CPU and memory of the node in percent, agents alive, messages waiting at one agent.

    A value is unusual beyond `sigmas` standard deviations. Raises SpecError that names every bad field.
    """

    cpu_usage: float = 80.0
    memory_usage: float = 85.0
    agents: int = 10_000
    mailbox: int = 1000
    sigmas: float = 2.0

    def __post_init__(self) -> None:
        bad = []
        for field in dataclasses.fields(self):
            value, most = getattr(self, field.name), _FULL if field.name.endswith("_usage") else math.inf
            if not 0 < value <= most:
                what = "a percentage above 0 and at most 100" if most == _FULL else "above 0"
                bad.append(f"{field.name} must be {what}, got {value!r}")
        if bad:
            raise SpecError(f"vital limits: {'; '.join(bad)}.")


@dataclass(frozen=True, slots=True)
class VitalSigns:
    """One look: the status, the score from 0 to 100, and what it comes from. `violations` are (value, limit) by name.

    The score is 100, less 15 for each violation, 10 for each anomaly, and a third of what CPU and memory use beyond
    70 percent.
    """

    status: VitalStatus
    score: float
    violations: Mapping[str, tuple[float, float]]
    anomalies: tuple[Anomaly, ...]
    trends: Mapping[str, Trend]
    figures: Mapping[str, float | None]
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "status": self.status,
            "score": self.score,
            "violations": [
                {"figure": name, "current": value, "limit": limit} for name, (value, limit) in self.violations.items()
            ],
            "anomalies": [str(anomaly) for anomaly in self.anomalies],
            "trends": dict(self.trends),
            "figures": dict(self.figures),
            "problems": list(self.problems),
        }


class VitalWatch:
    """Pure: told the figures of each look. One that is not known is no violation; one that cannot be read is told."""

    def __init__(self, limits: VitalLimits | None = None) -> None:
        self.limits = limits or VitalLimits()
        self._anomalies = AnomalyWatch(self.limits.sigmas)
        self._recent: deque[Mapping[str, float | None]] = deque(maxlen=TREND_SAMPLES)

    def observe(self, system: SystemFigures, agents: int, mailbox: int, now: float) -> VitalSigns:
        """Judge a look: the node's figures, agents alive, messages waiting at the agent where most of them do."""
        figures: dict[str, float | None] = {
            "cpu_usage": system.cpu_usage,
            "memory_usage": system.memory_usage,
            "agents": float(agents),
            "mailbox": float(mailbox),
        }
        violations: dict[str, tuple[float, float]] = {}
        for name, value in figures.items():
            if value is not None and value > (limit := float(getattr(self.limits, name))):
                violations[name] = (value, limit)
        anomalies = self._anomalies.observe(figures, now)
        self._recent.append(figures)
        score = vital_score(len(violations), len(anomalies), system.cpu_usage, system.memory_usage)
        status = vital_status(score, len(violations), len(anomalies) + len(system.problems))
        trends: dict[str, Trend] = {name: trend([look[name] for look in self._recent]) for name in figures}
        return VitalSigns(status, score, violations, anomalies, trends, figures, system.problems)


def vital_score(violations: int, anomalies: int, cpu_usage: float | None, memory_usage: float | None) -> float:
    """Return the score; see `VitalSigns`."""
    excess = sum(max(0.0, usage - _FREE_USAGE) for usage in (cpu_usage, memory_usage) if usage is not None)
    return round(max(0.0, _FULL - 15.0 * violations - 10.0 * anomalies - excess / 3.0), 1)


def vital_status(score: float, violations: int, unusual: int) -> VitalStatus:
    """Return the word for it: "ok" only with nothing wrong, and nothing unusual makes a bad score any better."""
    if score >= _OK and not violations and not unusual:
        return "ok"
    if score < _CRITICAL:
        return "emergency"
    return "warning" if score >= _WARNING and violations <= 1 else "critical"
