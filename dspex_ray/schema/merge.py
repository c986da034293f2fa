"""`merge_schemas`: one schema with the fields, transforms and validations of several."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic.fields import FieldInfo

from dspex_ray.errors import ProgramError
from dspex_ray.schema.runtime_schema import class_of, with_recipe
from dspex_ray.schema.schema import Schema
from dspex_ray.schema.steps import own_methods

OnConflict: TypeAlias = Literal["error", "first", "last", "union"]


def merge_schemas(
    *schemas: type[Schema], name: str | None = None, on_conflict: OnConflict = "error", doc: str | None = None
) -> type[Schema]:
    """Return a schema with all fields of `schemas`, in their order; its transforms and validations are theirs too.

    `on_conflict` decides on a field that two of them declare differently: `error`, the `first` or `last` declaration,
    or the `union` of the types, without default unless both have the same one. Raises ProgramError with every conflict.
    """
    if not schemas:
        raise ProgramError("merge_schemas takes at least one schema.")
    if on_conflict not in ("error", "first", "last", "union"):
        raise ProgramError(f"on_conflict is 'error', 'first', 'last' or 'union', got {on_conflict!r}.")
    merged: dict[str, FieldInfo] = {}
    conflicts: list[str] = []
    for schema in schemas:
        for key, info in schema.model_fields.items():
            before = merged.setdefault(key, info)
            if _same(before, info):
                continue
            conflicts.append(f"{key} is {_shown(before)} in one and {_shown(info)} in {schema.__name__}")
            if on_conflict != "first":
                merged[key] = info if on_conflict == "last" else _union(before, info)
    if conflicts and on_conflict == "error":
        hint = "choose with on_conflict='first', 'last' or 'union'"
        raise ProgramError(f"These schemas contradict each other: {'; '.join(conflicts)}; {hint}.")
    _check_methods(schemas)
    made = name or "And".join(schema.__name__ for schema in schemas)
    schema = class_of(made, {key: (info.annotation, info) for key, info in merged.items()}, doc, _bases(schemas))
    return with_recipe(schema, _merged_again, (schemas, name, on_conflict, doc))


def _merged_again(
    schemas: tuple[type[Schema], ...], name: str | None, on_conflict: OnConflict, doc: str | None
) -> type[Schema]:
    return merge_schemas(*schemas, name=name, on_conflict=on_conflict, doc=doc)


def _bases(schemas: tuple[type[Schema], ...]) -> tuple[type[Schema], ...]:
    """Return the schemas without those that another one inherits from, which Python could not put in order."""
    unique = tuple(dict.fromkeys(reversed(schemas)))  # reversed: pydantic puts the fields of the last base first
    return tuple(s for s in unique if not any(other is not s and issubclass(other, s) for other in unique))


def _check_methods(schemas: tuple[type[Schema], ...]) -> None:
    """Raise ProgramError for a method, such as a transform, that two schemas define under one name."""
    owners: dict[str, type] = {}
    for schema in schemas:
        for owner in reversed(schema.__mro__[: schema.__mro__.index(Schema)]):
            for key in own_methods(owner):
                first = owners.setdefault(key, owner)
                if first is not owner and not issubclass(owner, first):
                    both = f"{first.__name__} and {owner.__name__}"
                    raise ProgramError(f"{both} both have a method {key!r}, of which one would be lost; rename one.")


def _same(one: FieldInfo, other: FieldInfo) -> bool:
    return _parts(one) == _parts(other)


def _parts(info: FieldInfo) -> tuple[Any, ...]:
    return info.annotation, [repr(m) for m in info.metadata], info.default, info.default_factory


def _shown(info: FieldInfo) -> str:
    return repr(info).removeprefix("FieldInfo(").removesuffix(")")


def _union(one: FieldInfo, other: FieldInfo) -> FieldInfo:
    made = FieldInfo.from_annotation(one.rebuild_annotation() | other.rebuild_annotation())
    if one.default == other.default:
        made.default = one.default
    return made
