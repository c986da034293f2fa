"""`exact`: every field equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dspex_ray.metrics.field_metric import ABSENT, FieldMetric, differs


@dataclass(frozen=True)
class Exact(FieldMetric):
    """1 if every output field the data gives is equal (or each of `fields`, if named), else 0.

    With weights, the weighted share of the fields that are equal. True is not 1.
    """

    strict: ClassVar[bool] = True

    def compare(self, name: str, expected: Any, got: Any) -> tuple[float, str | None]:
        """Return 1 for an equal value."""
        same = got is not ABSENT and bool(got == expected) and isinstance(got, bool) == isinstance(expected, bool)
        return (1.0, None) if same else (0.0, differs(name, expected, got))


exact = Exact()
