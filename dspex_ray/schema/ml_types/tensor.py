"""`Tensor`: numbers in a rectangular arrangement of any depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic_core import CoreSchema, SchemaValidator, core_schema

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.schema.ml_types.base import Fault, MLType, as_list, faults, is_count

DType: TypeAlias = Literal["float", "int", "bool"]

_DEEPEST = 32  # dimensions of a numpy array, at most, until version 2
_SHOWN_FAULTS = 20
_SCALARS: dict[str, CoreSchema] = {
    "float": core_schema.float_schema(strict=True, allow_inf_nan=False),
    "int": core_schema.int_schema(strict=True),
    "bool": core_schema.bool_schema(strict=True),
}


@dataclass(frozen=True)
class TensorRule(MLType):
    """Nested lists of equal lengths. Options: `shape`, None standing for a free side, and `dtype` of the numbers."""

    shape: Sequence[int | None] | None = None
    dtype: DType = "float"
    kind: ClassVar[str] = "Tensor"

    def checked(self) -> None:
        """Refuse a shape that is no row of counts and a dtype that is not known."""
        if self.dtype not in _SCALARS:
            raise ProgramError(f"Tensor's dtype is one of {', '.join(_SCALARS)}, got {shown(self.dtype)}.")
        given: Any = self.shape
        sides = given if isinstance(given, list | tuple) and 0 < len(given) <= _DEEPEST else [0]
        if given is not None and not all(side is None or is_count(side) for side in sides):
            msg = f"Tensor's shape is a row of 1 to {_DEEPEST} sides, each a whole number from 1 on or None, "
            raise ProgramError(f"{msg}got {shown(given)}.")

    def core_schema(self) -> CoreSchema:
        """Return the schema; the depth is known before only where a shape is given."""
        if self.shape is None:
            return core_schema.no_info_before_validator_function(
                self._any_depth, core_schema.list_schema(core_schema.any_schema(), min_length=1)
            )
        return core_schema.no_info_before_validator_function(self._regular, nested(tuple(self.shape), self.dtype))

    def _regular(self, value: Any) -> Any:
        value = as_list(value)
        if isinstance(value, list):
            found = irregular(value, tuple(self.shape) if self.shape else None)
            if found:
                raise faults(found)
        return value

    def _any_depth(self, value: Any) -> Any:
        value = self._regular(value)
        return _validator(len(shape_of(value)), self.dtype).validate_python(value) if isinstance(value, list) else value


def nested(shape: tuple[int | None, ...], dtype: DType) -> CoreSchema:
    """Return the schema of lists within lists, of the sides given."""
    made = _SCALARS[dtype]
    for side in reversed(shape):
        made = core_schema.list_schema(made, min_length=side or 1, max_length=side)
    return made


@lru_cache(maxsize=_DEEPEST * len(_SCALARS))
def _validator(depth: int, dtype: DType) -> SchemaValidator:
    return SchemaValidator(nested((None,) * depth, dtype))


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape that the first elements show, as deep as tensors go."""
    sides: list[int] = []
    while isinstance(value, list | tuple) and len(sides) <= _DEEPEST:
        sides.append(len(value))
        value = value[0] if value else None
    return tuple(sides)


def irregular(value: list[Any], wanted: tuple[int | None, ...] | None) -> list[Fault]:
    """Return what keeps nested lists from being rectangular, or of the shape wanted; at most twenty faults."""
    shape = shape_of(value)
    if len(shape) > _DEEPEST:
        return [Fault((), f"nested more than {_DEEPEST} deep")]
    if 0 in shape:
        return [Fault((), "an empty tensor: every side has at least one element")]
    if wanted and (len(wanted) != len(shape) or any(w not in (None, s) for w, s in zip(wanted, shape, strict=True))):
        return [Fault((), f"expected shape {_spelled(wanted)}, got {_spelled(shape)}")]
    found: list[Fault] = []
    level: list[tuple[tuple[int, ...], Any]] = [((), value)]
    for side, inner in zip(shape, (*shape[1:], 0), strict=True):
        for path, row in level:
            if not isinstance(row, list | tuple) or len(row) != side:
                got = f"{len(row)}" if isinstance(row, list | tuple) else f"a {type(row).__name__}"
                found.append(Fault(path, f"ragged: expected {side} elements as in the first row, got {got}"))
        if found or not inner:
            break
        level = [((*path, i), item) for path, row in level for i, item in enumerate(row)]
    return found[:_SHOWN_FAULTS]


def _spelled(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


Tensor: TypeAlias = Annotated[list[Any], TensorRule()]
"""Numbers in any number of dimensions. Nested lists and arrays (numpy, torch) are taken; the value is nested lists."""
