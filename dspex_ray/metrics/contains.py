"""`contains`: the expected text occurs in the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dspex_ray.example import value_text
from dspex_ray.metrics.field_metric import ABSENT, FieldMetric, differs


@dataclass(frozen=True)
class Contains(FieldMetric):
    """The (weighted) share of the expected output fields whose text occurs in the output's field, whatever its case."""

    def compare(self, name: str, expected: Any, got: Any) -> tuple[float, str | None]:
        """Return 1 if the expected text occurs."""
        text = "" if got is ABSENT else value_text(got)
        found = value_text(expected).casefold() in text.casefold() and got is not ABSENT
        return (1.0, None) if found else (0.0, differs(name, expected, got))


contains = Contains()
