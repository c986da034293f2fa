"""`check`: a value held against its schema, with everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from dspex_ray.errors import ProgramError
from dspex_ray.problems import Problem, describe, faithful, joined
from dspex_ray.schema.literals import literal_options
from dspex_ray.schema.ml_types.secret import secret_fields
from dspex_ray.schema.steps import AS_GIVEN

if TYPE_CHECKING:
    from dspex_ray.schema.schema import Schema

S = TypeVar("S", bound="Schema")


class Faults(list[Problem]):
    """The problems of one value, as (path, message)."""


def check(schema: type[S], values: Mapping[str, Any], *, explain: bool = True) -> S | Faults:
    """Return the instance, or what is wrong with `values`; without `explain` the faults carry no words (faster)."""
    try:
        return schema.model_validate(values, strict=True)
    except ValidationError:
        pass  # not a failure yet: text from a file or a model may still spell the value exactly
    try:
        made = schema.model_validate(values)
    except ValidationError as error:
        bad = {fault["loc"][0] for fault in error.errors(include_url=False, include_input=False) if fault["loc"]}
        rest = {name: value for name, value in values.items() if name in schema.model_fields and name not in bad}
        unfaithful = _unfaithful(schema, rest)
        if not explain:
            return Faults([("", "")] * (error.error_count() + len(unfaithful)))
        options = {name: literal_options(schema, name) or () for name in schema.model_fields}
        found = describe(error, list(schema.model_fields), options, values, secret_fields(schema))
        return Faults(_in_order(schema, found + unfaithful))
    problems = _unfaithful(schema, values)
    return Faults(problems) if problems else made


def _in_order(schema: type[Schema], problems: list[Problem]) -> list[Problem]:
    """Return the problems field by field, as declared; those of no field last."""
    order = {name: i for i, name in enumerate(schema.model_fields)}
    return sorted(problems, key=lambda problem: order.get(problem[0].partition(".")[0].partition("[")[0], len(order)))


def _unfaithful(schema: type[Schema], values: Mapping[str, Any]) -> list[Problem]:
    """Return where lenient validation reads another value than the one written, among fields it accepts."""
    try:
        made = _parts(schema).model_validate(dict(values), context=AS_GIVEN)
    except ValidationError:  # a field that only the rest of the value makes acceptable: its faults are told already
        return []
    return faithful(dict(values), made.model_dump(mode="json", exclude_unset=True, fallback=repr))


_PARTS: WeakKeyDictionary[Any, type[BaseModel]] = WeakKeyDictionary()


def _parts(schema: type[Schema]) -> type[BaseModel]:
    """Return a model of the schema's fields, none of them required, without its transforms and validations."""
    if (made := _PARTS.get(schema)) is None:
        fields: dict[str, Any] = {name: (info.rebuild_annotation(), None) for name, info in schema.model_fields.items()}
        config = ConfigDict(extra="ignore", allow_inf_nan=False, protected_namespaces=(), arbitrary_types_allowed=True)
        made = _PARTS[schema] = create_model(schema.__name__, __config__=config, **fields)
    return made


def read_defaults(schema: type[Schema], names: Collection[str]) -> dict[str, Any]:
    """Return the defaults of the named fields as their types read them. Raises ProgramError with every wrong one."""
    given = {
        name: info.get_default(call_default_factory=False)
        for name, info in schema.model_fields.items()
        if name in names and not info.is_required() and info.default_factory is None
    }
    if not given:
        return {}
    try:
        read = _parts(schema).model_validate(given, context=AS_GIVEN, strict=True)
    except ValidationError as error:
        told = joined(describe(error, list(given), {}, given, secret_fields(schema)))
    else:
        return {name: getattr(read, name) for name in given}
    raise ProgramError(f"Schema {schema.__name__}: a default breaks its own field: {told}.")
