"""`StrictDialect`: the subset of JSON Schema that constrained decoding takes; `openai` and `groq` are made of it.

Every object names all its fields as required and allows no others, alternatives are `anyOf`, and what the receiver
has no keyword for is said in the description.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dspex_ray.problems import Problem
from dspex_ray.schema.dialects.base import Dialect
from dspex_ray.schema.dialects.wording import in_words
from dspex_ray.schema.json_tree import Node, mapped, recursive_names, rooted, subschemas, target, used

STRUCTURE = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "description"}
    | {"$ref", "$defs", "prefixItems"}
)


@dataclass(frozen=True)
class Limits:
    """How large a schema may be; None for no limit that is known."""

    properties: int | None = None
    depth: int | None = None
    characters: int | None = None
    enum_values: int | None = None
    long_enum: tuple[int, int] | None = None
    """Characters of a text enum's values together, if it has more values than the first number."""


@dataclass(frozen=True)
class StrictDialect(Dialect):
    """The rules as a table: the keywords beyond structure and the formats that are taken, and the limits."""

    keywords: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    name: ClassVar[str] = "strict"

    def convert(self, schema: Node) -> Node:
        """Return the schema in the subset; `problems` tells what the subset cannot say."""
        root = rooted(schema)
        return used(self._node(root, root.get("$defs", {}), recursive_names(root)))

    def _node(self, node: Node, definitions: dict[str, Node], recurring: frozenset[str]) -> Node:
        name = target(node)
        if name is not None:
            beside = {k: v for k, v in node.items() if k != "$ref"}
            if not beside.keys() - {"title", "default"}:
                return {"$ref": node["$ref"]}
            if name not in recurring:
                node = {**definitions[name], **beside}  # a reference stands alone: what it says is written out
            else:
                node = {"anyOf": [{"$ref": node["$ref"]}], **beside}
        node = _plain(node)
        made = mapped(node, lambda one: self._node(one, definitions, recurring))
        if "properties" in made:
            made["required"] = list(made["properties"])
            made["additionalProperties"] = False
        elif made.get("type") == "object" and made.get("additionalProperties") is False:
            made |= {"properties": {}, "required": []}
        return in_words(made, STRUCTURE | self.keywords, self.formats)

    def problems(self, schema: Node) -> list[Problem]:
        """Return free-form objects, untyped values and tuples, which the subset cannot say, and broken limits."""
        return [*self._unsayable(schema), *self._too_large(schema)]

    def _unsayable(self, schema: Node) -> Iterator[Problem]:
        for path, node in subschemas(schema):
            if node.get("type") == "object" and node.get("additionalProperties") is not False:
                yield path, "an object with free keys cannot be said; use a list of objects with a key and a value"
            elif not node.keys() & {"type", "anyOf", "enum", "const", "$ref"}:
                yield path, "a value of any type cannot be said; give the field a type"
            elif node.get("type") == "array" and "items" not in node:
                yield path, "a list whose elements have no type, or each its own, cannot be said"

    def _too_large(self, schema: Node) -> Iterator[Problem]:
        nodes = [node for _, node in subschemas(schema)]
        names = [name for node in nodes for key in ("properties", "$defs") for name in node.get(key, {})]
        enums = [node["enum"] for node in nodes if "enum" in node]
        values = [value for enum in enums for value in enum] + [node["const"] for node in nodes if "const" in node]
        limits = self.limits
        yield from _over("fields", sum(len(node.get("properties", {})) for node in nodes), limits.properties)
        yield from _over("levels of nested objects", _depth(schema, schema.get("$defs", {}), ()), limits.depth)
        yield from _over("characters of names and values", sum(len(str(v)) for v in names + values), limits.characters)
        yield from _over("enum values", sum(map(len, enums)), limits.enum_values)
        if limits.long_enum:
            many, most = limits.long_enum
            for enum in enums:
                if len(enum) > many:
                    size = sum(len(str(value)) for value in enum)
                    yield from _over(f"characters in an enum of more than {many} values", size, most)


def _plain(node: Node) -> Node:
    """Return the node without `oneOf`, single `allOf` and tuples of one type, which have simpler spellings."""
    made = dict(node)
    if "oneOf" in made:
        made["anyOf"] = made.pop("oneOf")
    if len(made.get("allOf", ())) == 1:
        made = {**made.pop("allOf")[0], **made}
    items: list[Any] = made.get("prefixItems", [])
    if items and all(item == items[0] for item in items):
        made["items"] = items[0]
        del made["prefixItems"]
    return made


def _over(what: str, found: int, limit: int | None) -> Iterator[Problem]:
    if limit is not None and found > limit:
        yield "", f"{found} {what}; at most {limit} are taken"


def _depth(node: Node, definitions: dict[str, Node], open_names: tuple[str, ...]) -> int:
    """Return how many objects stand in one another, a recursive one counted once."""
    name = target(node)
    if name is not None:
        inner = definitions.get(name, {})
        return 0 if name in open_names else _depth(inner, definitions, (*open_names, name))
    depths = [0]

    def visit(one: Node) -> Node:
        depths.append(_depth(one, definitions, open_names))
        return one

    mapped({key: value for key, value in node.items() if key != "$defs"}, visit)
    return max(depths) + (node.get("type") == "object")
