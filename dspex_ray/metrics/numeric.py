"""`numeric`: numbers within a tolerance, also numbers in text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from dspex_ray.errors import ConfigurationError
from dspex_ray.metrics.base import MetricError
from dspex_ray.metrics.field_metric import FieldMetric, On, differs
from dspex_ray.metrics.number_text import number_of
from dspex_ray.problems import shown


@dataclass(frozen=True)
class Numeric(FieldMetric):
    """1 if every expected number is met within `tolerance` (absolute) or `relative` (a share of it), else 0.

    Either side may be text that states a number, see `number_text`: the data must state one, of the output's numbers
    the last counts. With weights, the weighted share of the numbers that are met.
    """

    strict: ClassVar[bool] = True

    tolerance: float = 1e-6
    relative: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        given: dict[str, Any] = {"tolerance": self.tolerance, "relative": self.relative}
        for name, value in given.items():
            good = (
                isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
            )
            if not good:
                raise ConfigurationError(f"numeric: {name} must be a number of at least 0, got {value!r}.")

    def compare(self, name: str, expected: Any, got: Any) -> tuple[float, str | None]:
        """Return 1 for a number that is near enough. Raises MetricError if the data's own value is no number."""
        wanted = number_of(expected)
        if wanted is None:
            raise MetricError(f"numeric: the data's {name!r} is {shown(expected)}, not a number.")
        given = number_of(got, last=True)
        if given is None:
            return 0.0, differs(name, expected, got)
        near = abs(given - wanted) <= max(self.tolerance, self.relative * abs(wanted))
        return (1.0, None) if near else (0.0, f"{name}: expected {wanted:.12g}, got {given:.12g}")


def numeric(tolerance: float = 1e-6, relative: float = 0.0, *, on: On | None = None) -> Numeric:
    """Return a metric that accepts numbers within `tolerance`, or within `relative` times the expected one.

    Raises ConfigurationError for a negative or infinite one.
    """
    return Numeric(on, tolerance, relative)
