"""`infer_schema`: the schema that a few examples follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Literal

from dspex_ray.errors import DataError
from dspex_ray.problems import shown
from dspex_ray.schema.runtime_schema import make_schema
from dspex_ray.schema.schema import Schema

_MOST_OPTIONS = 20
_LONGEST_OPTION = 64
_REPEATED = 2  # each value of a Literal was seen twice, on average


def infer_schema(
    examples: Sequence[Mapping[str, Any]], name: str = "Inferred", *, most_options: int = _MOST_OPTIONS
) -> type[Schema]:
    """Return the schema of JSON-like examples.

    A field that some examples lack or have as null is optional. Whole numbers and others together are float. Text with
    2 to `most_options` different values, each seen twice on average, is a Literal of them in alphabetical order; 0
    keeps all text str. Objects become schemas of their own, `<Name><Field>`. Raises DataError for what is no example.
    """
    given: Any = examples
    if isinstance(given, str | bytes | Mapping) or not (isinstance(given, Sequence) and given):
        raise DataError(f"A schema is inferred from a list of at least one object, got {shown(examples)}.")
    for i, example in enumerate(given):
        if not (isinstance(example, Mapping) and all(isinstance(key, str) and key.isidentifier() for key in example)):
            raise DataError(f"Example {i} is no object whose keys are names of fields: {shown(example)}.")
    keys = dict.fromkeys(key for example in examples for key in example)
    if not keys:
        raise DataError("The examples hold no field to infer a schema from.")
    fields: dict[str, Any] = {}
    for key in keys:
        values = [example[key] for example in examples if key in example]
        present = [value for value in values if value is not None]
        kind = _type(present, f"{name}{_capital(key)}", most_options)
        optional = len(present) < len(examples)
        fields[key] = (kind, {"required": not optional})
    return make_schema(name, fields)


def _capital(key: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in key.split("_"))


def _type(values: list[Any], name: str, most_options: int) -> Any:
    kinds = list(dict.fromkeys(type(value) for value in values))
    if {int, float} <= set(kinds):
        kinds.remove(int)
    found = [_type_of(kind, [v for v in values if isinstance(v, kind)], name, most_options) for kind in kinds]
    return reduce(or_, found) if found else Any


def _type_of(kind: type, values: list[Any], name: str, most_options: int) -> Any:
    if issubclass(kind, Mapping):
        return infer_schema(values, name, most_options=most_options) if any(values) else dict[str, Any]
    if issubclass(kind, list | tuple):
        items = [item for value in values for item in value]
        inner: Any = _type([item for item in items if item is not None], f"{name}Item", most_options)
        if None in items:
            inner = inner | None
        made: Any = list
        return made[inner]
    if kind is str:
        return _text(values, most_options)
    return kind


def _text(values: list[str], most_options: int) -> Any:
    options = sorted(set(values))
    few = 1 < len(options) <= most_options and len(values) >= _REPEATED * len(options)
    short = all(len(option) <= _LONGEST_OPTION and "\n" not in option for option in options)
    return Literal[tuple(options)] if few and short else str
