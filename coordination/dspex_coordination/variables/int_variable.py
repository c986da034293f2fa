"""`Int`: a whole number between two bounds, uniform or logarithmic."""

from __future__ import annotations

import math
import random
from typing import Any, ClassVar

from dspex_coordination.errors import VariableError
from dspex_coordination.variables.base import Variable
from dspex_coordination.variables.checks import flag, integer, spread


class Int(Variable[int]):
    """A whole number in [low, high]. `log` samples evenly in the logarithm (needs low > 0); a bool is no value."""

    kind: ClassVar[str] = "int"

    def __init__(self, low: int, high: int, *, default: int | None = None, log: bool = False) -> None:
        self.low, self.high = integer(low, "Int: low"), integer(high, "Int: high")
        self.log = flag(log, "Int: log")
        if self.low >= self.high:
            raise VariableError(f"Int: low must be below high, got low={self.low} and high={self.high}.")
        if self.log and self.low <= 0:
            raise VariableError(f"Int: log=True needs low above 0, got low={self.low}.")
        if default is None:
            self.default = math.isqrt(self.low * self.high) if self.log else (self.low + self.high) // 2
        else:
            self.default = self._checked_default(default)

    def _checked_default(self, default: int) -> int:
        try:
            return self.validate(default)
        except VariableError as error:
            raise VariableError(f"Int: default is outside the domain: {error}") from error

    def validate(self, value: Any) -> int:
        """Return `value` as an int."""
        right = f"an integer from {self.low} to {self.high}"
        try:
            number = integer(value, self.label)
        except VariableError as error:
            raise VariableError(f"{error} Give {right}.") from error
        if not self.low <= number <= self.high:
            raise self._reject(value, right)
        return number

    def sample(self, rng: random.Random) -> int:
        """Draw evenly over the domain or, with `log`, over its logarithm with half a unit around each number."""
        if not self.log:
            return rng.randint(self.low, self.high)
        point = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return min(self.high, max(self.low, round(point)))

    def grid(self, n: int) -> list[int]:
        """Return at most `n` values, evenly spaced (in the logarithm with `log`), all if n >= cardinality."""
        if not self.log or n >= self.cardinality:
            return [self.low + position for position in spread(self.cardinality, n)]
        ratio = math.log(self.high / self.low)
        points: list[int] = []
        for i in spread(max(n, 2), n):
            point = max(round(self.low * math.exp(ratio * i / max(n - 1, 1))), points[-1] + 1 if points else self.low)
            points.append(min(point, self.high - (n - 1 - i)))  # crowded low ends move up, so that n stay distinct
        return points

    def fields(self) -> dict[str, Any]:
        """Return low, high, default and log."""
        return {"low": self.low, "high": self.high, "default": self.default, "log": self.log}

    @property
    def cardinality(self) -> int:
        """The number of integers in [low, high]."""
        return self.high - self.low + 1
