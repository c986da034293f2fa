"""How a value of each type looks while it is written: which part of it is sure to stay.

| type | known while it grows |
|---|---|
| text | what is there |
| list | the items that are whole |
| nested schema | a mapping of its members that are known |
| all others | nothing |

A whole value is read as the schema reads it. A type or field with a validator of its own may change what it gets, so
it counts among the others.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from annotated_types import BaseMetadata
from pydantic import BaseModel, ConfigDict, RootModel, ValidationError, create_model

from dspex_ray.problems import faithful
from dspex_ray.streaming.node import UNKNOWN, Node

_CONFIG = ConfigDict(allow_inf_nan=False, protected_namespaces=(), arbitrary_types_allowed=True)
_CHANGES = ("strip_whitespace", "to_lower", "to_upper")


class Shape:
    """A type of which only whole values are known."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        self._model: type[BaseModel] | None = None

    def known(self, node: Node) -> Any:
        """Return what is sure of the value, or UNKNOWN."""
        return self.whole(node)

    def whole(self, node: Node) -> Any:
        """Return the value, or UNKNOWN while it grows and when it does not fit the type."""
        if not node.done:
            return UNKNOWN
        if node.kept is None:
            node.kept = (self._read(node.plain()),)
        return node.kept[0]

    def _read(self, plain: Any) -> Any:
        model = self._model or create_model("Value", __config__=_CONFIG, value=(self._annotation, ...))
        self._model = model
        try:
            made: Any = model.model_validate({"value": plain}, strict=True)
        except ValidationError:
            try:  # as `check` does: text may spell the value exactly
                made = model.model_validate({"value": plain})
            except ValidationError:
                return UNKNOWN
            if faithful(plain, made.model_dump(mode="json", fallback=repr)["value"]):
                return UNKNOWN
        return as_mappings(made.value)


class TextShape(Shape):
    """Text, known as far as it is there."""

    def known(self, node: Node) -> Any:
        """Return the text so far."""
        return node.text if node.kind == "string" else self.whole(node)


class ListShape(Shape):
    """A list, known item by item."""

    def __init__(self, annotation: Any, item: Shape) -> None:
        super().__init__(annotation)
        self._item = item

    def known(self, node: Node) -> Any:
        """Return the items that are whole, up to the first that does not fit."""
        if node.kind != "array":
            return self.whole(node)
        for item in node.value[len(node.items) :]:
            value = self._item.whole(item)
            if value is UNKNOWN:
                break
            node.items.append(value)
        return list(node.items)


class SchemaShape(Shape):
    """A schema, known member by member."""

    def __init__(self, annotation: Any, schema: type[BaseModel]) -> None:
        super().__init__(annotation)
        self._schema = schema

    def known(self, node: Node) -> dict[str, Any] | Any:
        """Return the members that are known, by field name; with the defaults once it is whole and valid."""
        whole = self.whole(node)
        if whole is not UNKNOWN or node.kind != "object":
            return whole
        members = self._members(node)
        known = {name: shape.known(member) for name, shape, member in members}
        return {name: value for name, value in known.items() if value is not UNKNOWN}

    def complete(self, node: Node) -> tuple[str, ...]:
        """Return the names of the members that are whole and valid; all fields once the whole is."""
        if self.whole(node) is not UNKNOWN:
            return tuple(self._schema.model_fields)
        return tuple(name for name, shape, member in self._members(node) if shape.whole(member) is not UNKNOWN)

    def _members(self, node: Node) -> list[tuple[str, Shape, Node]]:
        fields = _fields(self._schema)
        found = [(fields.get(key), member) for key, member in node.members.items()]
        return [(*field, member) for field, member in found if field is not None]


def as_mappings(value: Any) -> Any:
    """Return the value with each schema in it as a mapping by field name."""
    if isinstance(value, BaseModel):
        return {name: as_mappings(member) for name, member in value}
    if isinstance(value, list):
        return [as_mappings(item) for item in value]
    if isinstance(value, Mapping):
        return {key: as_mappings(item) for key, item in value.items()}
    return value


def grows_into(part: Any, whole: Any) -> bool:
    """Whether the whole value is one that the part may become."""
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return all(name in whole and grows_into(value, whole[name]) for name, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(grows_into(p, w) for p, w in zip(part, whole, strict=False))
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    return bool(part == whole)


def shape_of(annotation: Any) -> Shape:
    """Return the shape of a type."""
    kind = _plain(annotation)
    if kind is str:
        return TextShape(annotation)
    if get_origin(kind) is list:
        return ListShape(annotation, shape_of(*get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, RootModel):
        return SchemaShape(annotation, kind)
    return Shape(annotation)


def _plain(annotation: Any) -> Any:
    """Return the type behind constraints and `| None`, which change no value; None behind anything else."""
    if get_origin(annotation) is Annotated:
        kind, *rules = get_args(annotation)
        return _plain(kind) if all(_only_checks(rule) for rule in rules) else None
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
        return _plain(kinds[0]) if len(kinds) == 1 else None
    return annotation


def _only_checks(rule: Any) -> bool:
    return isinstance(rule, BaseMetadata) and not any(getattr(rule, name, None) for name in _CHANGES)


_Fields = dict[str, tuple[str, Shape]]
_FIELDS: WeakKeyDictionary[Any, _Fields] = WeakKeyDictionary()


def _fields(schema: type[BaseModel]) -> _Fields:
    """Return the fields that may be shown before the schema is whole, by their names in JSON."""
    if (found := _FIELDS.get(schema)) is None:
        found = _FIELDS[schema] = {} if _changes_members(schema) else _shown_fields(schema)
    return found


def _shown_fields(schema: type[BaseModel]) -> _Fields:
    changed = {name for one in schema.__pydantic_decorators__.field_validators.values() for name in one.info.fields}
    return {
        key: (name, shape_of(info.rebuild_annotation()))
        for name, info in schema.model_fields.items()
        if name not in changed
        and "*" not in changed
        and isinstance(key := info.validation_alias or info.alias or name, str)
    }


def _changes_members(schema: type[BaseModel]) -> bool:
    steps = schema.__pydantic_decorators__.model_validators.values()
    rewrites = any(step.info.mode != "after" for step in steps)
    return rewrites or any(schema.model_config.get(f"str_{name}") for name in _CHANGES)
