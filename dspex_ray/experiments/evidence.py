"""What is known of one arm: how many successes, and the moments of a measure. Both can be added up over replicas."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dspex_ray.errors import UsageError


@dataclass(frozen=True, slots=True)
class Counts:
    """Successes among trials that are independent of one another, such as one request of each user."""

    successes: int = 0
    trials: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials:
            raise UsageError(f"Successes are between 0 and the trials, got {self.successes} of {self.trials}.")

    @property
    def failures(self) -> int:
        """Trials without success."""
        return self.trials - self.successes

    @property
    def rate(self) -> float:
        """The share of successes; NaN without a trial."""
        return self.successes / self.trials if self.trials else math.nan

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.successes + other.successes, self.trials + other.trials)


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, mean and sum of squared deviations of a measure (Chan, Golub and LeVeque 1979: they add up exactly)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        """Return the moments of some values. Raises UsageError for one that is not finite."""
        found = cls()
        for value in values:
            if not math.isfinite(value):
                raise UsageError(f"A measure must be finite, got {value!r}.")
            found += cls(1, value, 0.0)
        return found

    @property
    def variance(self) -> float:
        """The sample variance; 0 for fewer than two values."""
        return self.squares / (self.count - 1) if self.count > 1 else 0.0

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * other.count / count,
            self.squares + other.squares + apart * apart * self.count * other.count / count,
        )
