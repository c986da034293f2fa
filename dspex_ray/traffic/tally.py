"""`ArmTally`: what the arms of an endpoint did in one replica, summed up until it is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.serving.contract import Outcome
from dspex_ray.traffic.ramp import ArmEvidence

_FAILED: Final = 500  # and above: the version could have answered, and did not
_ANSWERED: Final = 200


@dataclass(slots=True)
class _Running:
    """Moments that grow by one value (Welford 1962), without an object for each."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        apart = value - self.mean
        self.mean += apart / self.count
        self.squares += apart * (value - self.mean)


@dataclass(slots=True)
class _Sums:
    answered: int = 0
    failed: int = 0
    latency_s: _Running = field(default_factory=_Running)
    cost_usd: _Running = field(default_factory=_Running)

    def evidence(self) -> ArmEvidence:
        measures = {"latency_s": self.latency_s, "cost_usd": self.cost_usd}
        return ArmEvidence(
            answered=Counts(self.answered, self.answered + self.failed),
            measures={name: Moments(one.count, one.mean, one.squares) for name, one in measures.items()},
        )


class ArmTally:
    """A `Witness` that counts answers and failures of each arm, and the latency and cost of answers.

    What the caller did wrong (4xx, or gone before the answer) says nothing of a version, and a shadow has no arm.
    """

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}

    def saw(self, outcome: Outcome) -> None:
        """Count an outcome."""
        if outcome.shadow:
            return
        if outcome.status == _ANSWERED:
            sums = self._of(outcome.arm)
            sums.answered += 1
            sums.latency_s.add(outcome.latency_s)
            if outcome.cost_usd is not None:
                sums.cost_usd.add(outcome.cost_usd)
        elif outcome.status >= _FAILED:
            self._of(outcome.arm).failed += 1

    def take(self) -> dict[str, ArmEvidence]:
        """Return what came since the last time, by arm."""
        sums, self._sums = self._sums, {}
        return {arm: one.evidence() for arm, one in sums.items()}

    def _of(self, arm: str) -> _Sums:
        sums = self._sums.get(arm)
        if sums is None:
            sums = self._sums[arm] = _Sums()
        return sums
