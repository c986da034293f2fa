"""The variables that a schema declares: fields whose default an optimizer may choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dspex_coordination.errors import VariableError
from dspex_coordination.variables import Bool, Choice, Float, Int, Variable
from dspex_ray.errors import ProgramError
from dspex_ray.schema.field_options import Tunable

if TYPE_CHECKING:
    from dspex_ray.schema.schema import Schema


def tunable_fields(schema: type[Schema]) -> dict[str, Variable[Any]]:
    """Return the variables of the schema's fields declared with `field(variable=True)`, by field name.

    Raises ProgramError that names a field that cannot be tuned.
    """
    return {
        name: _variable(f"{schema.__qualname__}.{name}", info).named(name)
        for name, info in schema.model_fields.items()
        if any(isinstance(mark, Tunable) for mark in info.metadata)
    }


def _variable(where: str, info: FieldInfo) -> Variable[Any]:
    make = _MAKERS.get(info.annotation) if isinstance(info.annotation, type) else None
    if get_origin(info.annotation) is Literal:
        make = _choice
    if make is None:
        raise ProgramError(
            f"{where}: variable=True works for float, int, bool and Literal fields, not for {info.annotation!r}."
        )
    if info.default is PydanticUndefined:
        raise ProgramError(f"{where}: a tunable field needs a default: field(<default>, variable=True, ...).")
    try:
        return make(where, info)
    except VariableError as error:
        raise ProgramError(f"{where}: {error}") from error


def _bounds(where: str, info: FieldInfo) -> tuple[Any, Any]:
    low = next((m.ge for m in info.metadata if getattr(m, "ge", None) is not None), None)
    high = next((m.le for m in info.metadata if getattr(m, "le", None) is not None), None)
    if low is None or high is None:
        raise ProgramError(f"{where}: a tunable number needs both bounds: field(..., ge=<low>, le=<high>).")
    return low, high


def _float(where: str, info: FieldInfo) -> Variable[Any]:
    low, high = _bounds(where, info)
    return Float(low, high, default=info.default)


def _int(where: str, info: FieldInfo) -> Variable[Any]:
    low, high = _bounds(where, info)
    return Int(low, high, default=info.default)


def _bool(_where: str, info: FieldInfo) -> Variable[Any]:
    return Bool(default=info.default)


def _choice(_where: str, info: FieldInfo) -> Variable[Any]:
    return Choice(list(get_args(info.annotation)), default=info.default)


_MAKERS: dict[type, Callable[[str, FieldInfo], Variable[Any]]] = {float: _float, int: _int, bool: _bool}
