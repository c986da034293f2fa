"""`AttentionWeights`: a rectangular matrix whose rows are distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic_core import CoreSchema, core_schema

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.schema.ml_types.base import Fault, MLType, as_list, faults
from dspex_ray.schema.ml_types.tensor import irregular


@dataclass(frozen=True)
class AttentionWeightsRule(MLType):
    """Rows of numbers from 0 on, of one length. Options: `tolerance`, how far the sum of a row may be from 1."""

    tolerance: float = 1e-3
    kind: ClassVar[str] = "AttentionWeights"

    def checked(self) -> None:
        """Refuse a tolerance that is no share."""
        given: Any = self.tolerance
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1:
            raise ProgramError(f"AttentionWeights' tolerance is a number from 0 to below 1, got {shown(given)}.")

    def core_schema(self) -> CoreSchema:
        """Return the schema: shape, then numbers, then sums."""
        weight = core_schema.float_schema(strict=True, allow_inf_nan=False, ge=0)
        row = core_schema.list_schema(weight, min_length=1)
        matrix = core_schema.list_schema(row, min_length=1)
        shaped = core_schema.no_info_before_validator_function(_rectangular, matrix)
        return core_schema.no_info_after_validator_function(self._normal, shaped)

    def _normal(self, rows: list[list[float]]) -> list[list[float]]:
        sums = [math.fsum(row) for row in rows]
        found = [
            Fault((i,), f"a row of attention sums to 1, this one to {total:.6g}")
            for i, total in enumerate(sums)
            if abs(total - 1) > self.tolerance
        ]
        if found:
            raise faults(found)
        return rows


def _rectangular(value: Any) -> Any:
    value = as_list(value)
    if isinstance(value, list) and (found := irregular(value, (None, None))):
        raise faults(found)
    return value


AttentionWeights: TypeAlias = Annotated[list[list[float]], AttentionWeightsRule()]
"""Weights of queries (rows) over keys (columns). Lists and arrays are taken; the value is a list of rows."""
