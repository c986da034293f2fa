"""`Int`: a whole number between two bounds, uniform or logarithmic, each one or in steps."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Unpack

from dspex_coordination.errors import VariableError
from dspex_coordination.variables.checks import flag, integer
from dspex_coordination.variables.links import Links
from dspex_coordination.variables.number import Number


class Int(Number[int]):
    """A whole number in [low, high]; a bool is no value.

    `step` allows only low, low + step, ..., high and divides high - low. `log` draws evenly in the logarithm, half a
    step around each number (needs low above half a step). The default is the middle (geometric with `log`).
    """

    kind: ClassVar[str] = "int"

    def __init__(
        self,
        low: int,
        high: int,
        *,
        default: int | None = None,
        log: bool = False,
        step: int = 1,
        **links: Unpack[Links],
    ) -> None:
        super().__init__(**links)
        self.low, self.high = integer(low, "Int: low"), integer(high, "Int: high")
        self.log = flag(log, "Int: log")
        self.step = integer(step, "Int: step")
        if self.low >= self.high:
            raise VariableError(f"Int: low must be below high, got low={self.low} and high={self.high}.")
        if self.step < 1 or (self.high - self.low) % self.step:
            raise VariableError(
                f"Int: step must be at least 1 and divide high - low = {self.high - self.low} evenly, got {self.step}."
            )
        self._steps = (self.high - self.low) // self.step
        self._check_log(float(self.step))
        self.default = self._middle() if default is None else self._checked_default(default)
        self._axis = self._draw_axis()

    def _middle(self) -> int:
        middle = math.isqrt(self.low * self.high) if self.log else (self.low + self.high) // 2
        return self.low + (middle - self.low) // self.step * self.step

    def _value_at(self, position: int) -> int:
        return self.low + position * self.step

    def _from_axis(self, point: float) -> int:
        return self._value_at(self._position_of(point))

    def validate(self, value: Any) -> int:
        """Return `value` as an int."""
        right = f"an integer from {self.low} to {self.high}" + (f" in steps of {self.step}" if self.step > 1 else "")
        try:
            number = integer(value, self.label)
        except VariableError as error:
            raise VariableError(f"{error} Give {right}.") from error
        if not self.low <= number <= self.high or (number - self.low) % self.step:
            raise self._reject(value, right)
        return number

    def fields(self) -> dict[str, Any]:
        """Return low, high, default and log, and step where it is not 1."""
        found = {"low": self.low, "high": self.high, "default": self.default, "log": self.log}
        return {**found, "step": self.step} if self.step > 1 else found

    @property
    def cardinality(self) -> int:
        """The number of integers in [low, high], in steps."""
        return (self.high - self.low) // self.step + 1
