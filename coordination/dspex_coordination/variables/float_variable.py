"""`Float`: a real number between two bounds, uniform, logarithmic or in steps."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any, ClassVar

from dspex_coordination.errors import VariableError
from dspex_coordination.variables.base import Variable
from dspex_coordination.variables.checks import flag, real, spread

_STEP_TOLERANCE = 1e-9  # of one step: what decimal text and binary floats may differ by


class Float(Variable[float]):
    """A real number in [low, high].

    `log` samples evenly in the logarithm (needs low > 0); `step` allows only low, low + step, ..., high. The default
    is the middle (geometric with `log`, on a step with `step`). An int is accepted as a value, a bool is not.
    """

    kind: ClassVar[str] = "float"

    def __init__(
        self, low: float, high: float, *, default: float | None = None, log: bool = False, step: float | None = None
    ) -> None:
        self.low, self.high = real(low, "Float: low"), real(high, "Float: high")
        self.log = flag(log, "Float: log")
        self.step = None if step is None else real(step, "Float: step")
        self._steps = self._check_domain()
        self.default = self._middle() if default is None else self._checked_default(default)

    def _check_domain(self) -> int | None:
        low, high, step = self.low, self.high, self.step
        if low >= high:
            raise VariableError(f"Float: low must be below high, got low={low!r} and high={high!r}.")
        if not math.isfinite(high - low):
            raise VariableError(f"Float: high - low must be finite, got low={low!r} and high={high!r}.")
        if self.log and low <= 0:
            raise VariableError(f"Float: log=True needs low above 0, got low={low!r}.")
        if step is None:
            return None
        if self.log:
            raise VariableError("Float: log and step exclude each other; give one of them.")
        span = Decimal(repr(high)) - Decimal(repr(low))  # as written: 0.1 - 0.0 and 1.1 - 1.0 are the same span
        if not 0 < Decimal(repr(step)) <= span:
            raise VariableError(f"Float: step must be above 0 and at most high - low = {span}, got {step!r}.")
        count = span / Decimal(repr(step))
        if abs(count - round(count)) > Decimal(repr(_STEP_TOLERANCE)):
            raise VariableError(f"Float: step {step!r} does not divide high - low = {span} evenly.")
        return round(count)

    def _checked_default(self, default: float) -> float:
        try:
            return self.validate(default)
        except VariableError as error:
            raise VariableError(f"Float: default is outside the domain: {error}") from error

    def _middle(self) -> float:
        if self._steps is not None:
            return self._at(self._steps // 2)
        if self.log:
            return self._clamped(math.exp((math.log(self.low) + math.log(self.high)) / 2))
        return self._clamped(self.low + (self.high - self.low) / 2)

    def _at(self, position: int) -> float:
        # Decimal keeps 0.1 * 3 at 0.3, the number a person would write
        return self._clamped(float(Decimal(repr(self.low)) + position * Decimal(repr(self.step))))

    def _clamped(self, value: float) -> float:
        return min(self.high, max(self.low, value))

    def validate(self, value: Any) -> float:
        """Return `value` as a float, on the nearest step if it is there but for rounding."""
        right = f"a number from {self.low!r} to {self.high!r}"
        try:
            number = real(value, self.label)
        except VariableError as error:
            raise VariableError(f"{error} Give {right}.") from error
        if not self.low <= number <= self.high:
            raise self._reject(value, right)
        if self.step is None:
            return number
        position = (number - self.low) / self.step
        if abs(position - round(position)) > _STEP_TOLERANCE * max(1.0, abs(position)):
            raise self._reject(value, f"{right} in steps of {self.step!r}, such as {self._at(round(position))!r}")
        return self._at(round(position))

    def sample(self, rng: random.Random) -> float:
        """Draw evenly over the domain, its logarithm or its steps."""
        if self._steps is not None:
            return self._at(rng.randint(0, self._steps))
        if self.log:
            return self._clamped(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self._clamped(rng.uniform(self.low, self.high)) + 0.0

    def grid(self, n: int) -> list[float]:
        """Return `n` evenly spaced values (in the logarithm with `log`), fewer if there are fewer steps."""
        if self._steps is not None:
            return [self._at(position) for position in spread(self._steps + 1, n)]
        positions = spread(max(n, 2), n)
        last = max(n - 1, 1)
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            points = (math.exp(low + (high - low) * i / last) for i in positions)
        else:
            points = (self.low + (self.high - self.low) * (i / last) for i in positions)
        inner = [self._clamped(point) for point in points]
        ends = {0: self.low, last: self.high}  # exact, whatever exp and log lose
        return list(dict.fromkeys(ends.get(i, point) for i, point in zip(positions, inner, strict=True)))

    def fields(self) -> dict[str, Any]:
        """Return low, high, default, log and step."""
        return {"low": self.low, "high": self.high, "default": self.default, "log": self.log, "step": self.step}

    @property
    def cardinality(self) -> int | None:
        """The number of steps plus one; None without `step`."""
        return None if self._steps is None else self._steps + 1
