"""`MetricSensor`: watches one figure and tells when it leaves its bounds or its habits."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dspex_agents.errors import SpecError
from dspex_agents.sensors.sensor import Read, SensorAgent, check_seconds, read_once
from dspex_agents.signals.signal import Signal

FindingKind = Literal["above", "below", "anomaly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """When a figure is worth a signal. Raises SpecError.

    `high` and `low` bound it (themselves allowed); an anomaly is more than `sigmas` standard deviations from the mean
    of the last `history` values, once there are `min_samples`; the same finding is told again only after `cooldown_s`.
    """

    high: float = math.inf
    low: float = -math.inf
    sigmas: float = 2.0
    min_samples: int = 10
    history: int = 100
    cooldown_s: float = 300.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise SpecError(f"metric rule: low must be below high, got {self.low} and {self.high}.")
        if not self.sigmas > 0:
            raise SpecError(f"metric rule: sigmas must be above 0, got {self.sigmas}.")
        if not 2 <= self.min_samples <= self.history:  # noqa: PLR2004 - one value has no deviation
            text = f"metric rule: min_samples must be from 2 to history ({self.history}), got {self.min_samples}."
            raise SpecError(text)
        if not self.cooldown_s >= 0:
            raise SpecError(f"metric rule: cooldown_s must not be negative, got {self.cooldown_s}.")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing told of a value: its kind, the bound it passed, and how often it was kept back since last told."""

    kind: FindingKind
    value: float
    bound: float
    mean: float | None
    deviation: float | None
    suppressed: int


class MetricWatch:
    """The rule at work: pure, told each value and its time."""

    def __init__(self, rule: MetricRule) -> None:
        self.rule = rule
        self._values: deque[float] = deque(maxlen=rule.history)
        self._told_at: dict[FindingKind, float] = {}
        self._kept_back: dict[FindingKind, int] = {}

    def observe(self, value: float, now: float) -> list[Finding]:
        """Judge a value against the bounds and the values before it, then remember it.

        Raises ValueError for one that is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"a metric must be a finite number, got {value!r}")
        mean = deviation = None
        if len(self._values) >= self.rule.min_samples:
            mean = statistics.fmean(self._values)
            deviation = statistics.pstdev(self._values, mean)
        findings = [
            Finding(kind, value, bound, mean, deviation, self._kept_back.pop(kind, 0))
            for kind, bound in self._passed(value, mean, deviation).items()
            if self._may_tell(kind, now)
        ]
        self._values.append(value)
        return findings

    def _passed(self, value: float, mean: float | None, deviation: float | None) -> dict[FindingKind, float]:
        passed: dict[FindingKind, float] = {}
        if value > self.rule.high:
            passed["above"] = self.rule.high
        if value < self.rule.low:
            passed["below"] = self.rule.low
        if mean is not None and deviation is not None:
            spread = self.rule.sigmas * deviation
            # a constant figure has no spread: the error of the mean itself must not count as a deviation
            if abs(value - mean) > spread and not math.isclose(value, mean, rel_tol=1e-9):
                passed["anomaly"] = mean + math.copysign(spread, value - mean)
        return passed

    def _may_tell(self, kind: FindingKind, now: float) -> bool:
        last = self._told_at.get(kind)
        if last is not None and now - last < self.rule.cooldown_s:
            self._kept_back[kind] = self._kept_back.get(kind, 0) + 1
            return False
        self._told_at[kind] = now
        return True

    @property
    def samples(self) -> int:
        """How many values are remembered."""
        return len(self._values)

    @property
    def kept_back(self) -> int:
        """How many findings the cooldown holds back now."""
        return sum(self._kept_back.values())


class MetricSensor(SensorAgent):
    """Reads a figure every `interval_s` seconds and publishes `<type>.above`, `<type>.below` and `<type>.anomaly`.

    A reading that is no finite number is a failed poll.
    """

    def __init__(
        self,
        bus: str,
        type_: str,
        read: Read,
        *,
        interval_s: float,
        rule: MetricRule | None = None,
        **options: Any,
    ) -> None:
        """`read` may be async and must not block; `options` are those of SensorAgent. Raises SpecError."""
        super().__init__(bus, **options)
        check_seconds(self, "interval_s", interval_s)
        self._type, self._read, self._interval_s = type_, read, interval_s
        self._watch = MetricWatch(rule or MetricRule())

    def next_after(self, now: float) -> float:
        """Return the time one interval on."""
        return now + self._interval_s

    async def poll(self) -> Sequence[Signal]:
        """Read once and judge."""
        value = await read_once(self._read)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"a metric must be a number, got a {type(value).__name__}")
        found = self._watch.observe(float(value), self.context.clock.now())
        return [self.signal(f"{self._type}.{finding.kind}", _told(finding)) for finding in found]

    def details(self) -> Mapping[str, Any]:
        """Return the sensor's figures, with samples remembered and findings held back by the cooldown."""
        return {**super().details(), "samples": self._watch.samples, "suppressed": self._watch.kept_back}


def _told(finding: Finding) -> dict[str, Any]:
    return {
        "value": finding.value,
        "bound": finding.bound,
        "mean": finding.mean,
        "deviation": finding.deviation,
        "suppressed": finding.suppressed,
    }
