"""`field`: a field of a schema, with the options of pydantic's fields and those of the ML types."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args, get_origin, overload

from pydantic import Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dspex_ray.errors import ProgramError
from dspex_ray.schema.ml_types.base import MLType, TypeOptions

T = TypeVar("T")

_PYDANTIC = frozenset(
    name for name, one in inspect.signature(Field).parameters.items() if one.kind is not inspect.Parameter.VAR_KEYWORD
)
_NUMBER_OPTIONS = ("ge", "gt", "le", "lt", "multiple_of")
_SIZE_OPTIONS = ("min_length", "max_length")
_FITTING: dict[Any, tuple[str, ...]] = {
    str: (*_SIZE_OPTIONS, "pattern"),
    int: _NUMBER_OPTIONS,
    float: _NUMBER_OPTIONS,
    bool: (),
    Literal: (),
    list: _SIZE_OPTIONS,
    dict: _SIZE_OPTIONS,
}


class Tunable:
    """Marks a schema field whose default an optimizer may choose. A pickled class has a mark of its own."""


@overload
def field(default: T, *, variable: bool = False, description: str | None = None, **constraints: Any) -> T: ...
@overload
def field(*, variable: bool = False, description: str | None = None, **constraints: Any) -> Any: ...
def field(
    default: Any = PydanticUndefined, *, variable: bool = False, description: str | None = None, **constraints: Any
) -> Any:
    """Declare a schema field.

    `constraints` are those of `pydantic.Field` (`ge`, `le`, `max_length`, `pattern`, ...) and the options of the
    field's ML type (`dim=1536` of an Embedding). With `variable=True` the default is tunable: a float or int between
    `ge` and `le`, a Literal or a bool. The class that uses the field raises ProgramError, naming it, for an option
    that its type does not have, and for a tunable field of any other type or without a bound or default.
    """
    known = {name: value for name, value in constraints.items() if name in _PYDANTIC}
    own = tuple((name, value) for name, value in constraints.items() if name not in _PYDANTIC)
    info = Field(default, description=description, **known)
    if own:
        info.metadata.insert(0, TypeOptions(own, of_field=True))
    if variable:
        info.metadata.append(Tunable())
    return info


def named_options(where: str, info: FieldInfo) -> None:
    """Let the ML options of a field name it in their errors."""
    info.metadata[:] = [replace(m, where=where) if isinstance(m, TypeOptions) else m for m in info.metadata]


def check_options(info: FieldInfo) -> None:
    """Raise ProgramError for options of a field whose type is no ML type."""
    given = [mark for mark in info.metadata if isinstance(mark, TypeOptions)]
    if given and not has_rule(info):
        raise given[0].unknown(info.annotation)


def has_rule(info: FieldInfo) -> bool:
    """Whether the field is of an ML type that has a rule, or of such a type or None."""
    inner = [mark for one in _alternatives(info.annotation) for mark in getattr(one, "__metadata__", ())]
    return any(isinstance(mark, MLType) for mark in (*info.metadata, *inner))


def constraints_of(info: FieldInfo) -> Iterator[tuple[str, Any]]:
    """Yield the constraints of a field as (option, value)."""
    for mark in info.metadata:
        for name in (*_NUMBER_OPTIONS, *_SIZE_OPTIONS, "pattern"):
            if (value := getattr(mark, name, None)) is not None:
                yield name, value


def check_constraints(where: str, info: FieldInfo) -> None:
    """Raise ProgramError for a constraint that the field's type cannot have, and for bounds that exclude each other.

    pydantic takes any constraint for any type and fails with a TypeError at the first value.
    """
    kinds = {get_origin(one) or one for one in _alternatives(info.annotation)}
    found = dict(constraints_of(info))
    if len(kinds) == 1 and (fitting := _FITTING.get(next(iter(kinds)))) is not None:
        for name in found:
            if name not in fitting:
                kind = getattr(next(iter(kinds)), "__name__", "Literal")
                has = f"it has {', '.join(fitting)}" if fitting else "it has none"
                raise ProgramError(f"{where}: {kind} has no option {name!r}; {has}.")
    lows, highs = [found.get(n) for n in ("ge", "gt", "min_length")], [found.get(n) for n in ("le", "lt", "max_length")]
    low, high = next((v for v in lows if v is not None), None), next((v for v in highs if v is not None), None)
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        raise ProgramError(f"{where}: no value is at least {low} and at most {high}.")


def _alternatives(annotation: Any) -> list[Any]:
    """Return the type, or of `X | None` the X."""
    if get_origin(annotation) in (None, Literal, list, dict):
        return [annotation]
    return [one for one in get_args(annotation) if one is not type(None)]
