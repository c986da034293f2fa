"""Conditions between variables: data in and out, never code that is run."""

from __future__ import annotations

from dspex_coordination.conditions.expression import (
    Condition,
    Expression,
    as_condition,
    as_conditions,
    as_expression,
)
from dspex_coordination.conditions.face import (
    Term,
    V,
    count,
    implies,
    largest,
    length,
    lookup,
    smallest,
    total,
    where,
)
from dspex_coordination.conditions.operators import ABSENT

__all__ = [
    "ABSENT",
    "Condition",
    "Expression",
    "Term",
    "V",
    "as_condition",
    "as_conditions",
    "as_expression",
    "count",
    "implies",
    "largest",
    "length",
    "lookup",
    "smallest",
    "total",
    "where",
]
