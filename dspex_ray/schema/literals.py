"""The Literal fields of a schema and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

if TYPE_CHECKING:
    from dspex_ray.schema.schema import Schema


def literal_options(schema: type[Schema], name: str) -> tuple[Any, ...] | None:
    """Return the values a Literal field allows; None if the field is no Literal."""
    annotation = schema.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else None


def literal_fields(schema: type[Schema]) -> tuple[str, ...]:
    """Return the names of the schema's Literal fields, in order."""
    return tuple(name for name in schema.model_fields if literal_options(schema, name) is not None)
