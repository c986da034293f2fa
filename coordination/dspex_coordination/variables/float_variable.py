"""`Float`: a real number between two bounds, uniform, logarithmic or normal, rounded or in steps."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, ClassVar, Literal, Unpack, get_args

from dspex_coordination.errors import VariableError
from dspex_coordination.variables.checks import flag, real
from dspex_coordination.variables.links import Links
from dspex_coordination.variables.number import Number

Distribution = Literal["uniform", "log", "normal"]
_STEP_TOLERANCE = 1e-9  # of one step: what decimal text and binary floats may differ by


class Float(Number[float]):
    """A real number in [low, high]; an int is accepted as a value, a bool is not.

    | argument       | meaning                                                                                     |
    |----------------|---------------------------------------------------------------------------------------------|
    | `default`      | a value; if not given the middle (geometric with `log`, on a step with `step`)              |
    | `log`          | draws are even in the logarithm; needs low > 0                                              |
    | `step`         | only low, low + step, ..., high are values; it divides high - low                           |
    | `precision`    | values are rounded to multiples of it (0.01: two decimals); it divides low and high         |
    | `distribution` | "uniform", "log" (the same as `log=True`), or "normal" around the default, cut at the bounds|
    """

    kind: ClassVar[str] = "float"

    def __init__(
        self,
        low: float,
        high: float,
        *,
        default: float | None = None,
        log: bool = False,
        step: float | None = None,
        precision: float | None = None,
        distribution: Distribution = "uniform",
        **links: Unpack[Links],
    ) -> None:
        super().__init__(**links)
        self.low, self.high = real(low, "Float: low"), real(high, "Float: high")
        if distribution not in get_args(Distribution):
            known = ", ".join(repr(name) for name in get_args(Distribution))
            raise VariableError(f"Float: unknown distribution {distribution!r}; give one of {known}.")
        self.log = flag(log, "Float: log") or distribution == "log"
        self.distribution: Distribution = "log" if self.log and distribution != "normal" else distribution
        self.step = None if step is None else real(step, "Float: step")
        self.precision = None if precision is None else real(precision, "Float: precision")
        self._steps = self._check_domain()
        self._check_log(self.step or self.precision or 0.0)
        self.default = self._middle() if default is None else self._checked_default(default)
        self._axis = self._draw_axis()

    def _check_domain(self) -> int | None:
        low, high = self.low, self.high
        if low >= high:
            raise VariableError(f"Float: low must be below high, got low={low!r} and high={high!r}.")
        if not math.isfinite(high - low):
            raise VariableError(f"Float: high - low must be finite, got low={low!r} and high={high!r}.")
        if self.step is not None and self.precision is not None:
            raise VariableError("Float: step and precision exclude each other; give one of them.")
        if self.precision is not None:
            for name, bound in (("low", low), ("high", high)):
                _divided(bound, self.precision, "precision", f"{name} = {bound!r}")
        quantum, name = (self.step, "step") if self.precision is None else (self.precision, "precision")
        if quantum is None:
            return None
        span = Decimal(repr(high)) - Decimal(repr(low))  # as written: 0.1 - 0.0 and 1.1 - 1.0 are the same span
        if not 0 < Decimal(repr(quantum)) <= span:
            raise VariableError(f"Float: {name} must be above 0 and at most high - low = {span}, got {quantum!r}.")
        return _divided(span, quantum, name, f"high - low = {span}")

    def _middle(self) -> float:
        if self.log:
            return self._from_axis(math.exp((math.log(self.low) + math.log(self.high)) / 2))
        if self._steps is not None:
            return self._value_at(self._steps // 2)
        return self._from_axis(self.low + (self.high - self.low) / 2)

    @property
    def _mode(self) -> float | None:
        return self.default if self.distribution == "normal" else None

    @property
    def _quantum(self) -> float:
        return self.step or self.precision or 0.0

    def _value_at(self, position: int) -> float:
        # Decimal keeps 0.1 * 3 at 0.3, the number a person would write
        return self._clamped(float(Decimal(repr(self.low)) + position * Decimal(repr(self._quantum))))

    def _from_axis(self, point: float) -> float:
        return self._clamped(point) if self._steps is None else self._value_at(self._position_of(point))

    def _clamped(self, value: float) -> float:
        return min(self.high, max(self.low, value)) + 0.0  # -0.0 becomes 0.0

    def validate(self, value: Any) -> float:
        """Return `value` as a float: rounded to `precision`, or on the nearest step if it is there but for rounding."""
        right = f"a number from {self.low!r} to {self.high!r}"
        try:
            number = real(value, self.label)
        except VariableError as error:
            raise VariableError(f"{error} Give {right}.") from error
        if not self.low <= number <= self.high:
            raise self._reject(value, right)
        if self.step is not None:
            position = (number - self.low) / self.step
            if abs(position - round(position)) > _STEP_TOLERANCE * max(1.0, abs(position)):
                near = self._value_at(round(position))
                raise self._reject(value, f"{right} in steps of {self.step!r}, such as {near!r}")
        return self._from_axis(number)

    def fields(self) -> dict[str, Any]:
        """Return low, high, default, log and step, and precision and distribution where they are set."""
        found = {"low": self.low, "high": self.high, "default": self.default, "log": self.log, "step": self.step}
        extra = {"precision": self.precision} if self.precision is not None else {}
        return {**found, **extra, **({"distribution": "normal"} if self.distribution == "normal" else {})}


def _divided(whole: float | Decimal, quantum: float, name: str, called: str) -> int:
    if quantum <= 0:
        raise VariableError(f"Float: {name} must be above 0, got {quantum!r}.")
    count = Decimal(repr(whole) if isinstance(whole, float) else whole) / Decimal(repr(quantum))
    if abs(count - round(count)) > Decimal(repr(_STEP_TOLERANCE)):
        raise VariableError(f"Float: {name} {quantum!r} does not divide {called} evenly.")
    return round(count)
