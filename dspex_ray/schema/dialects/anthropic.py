"""`anthropic`: the `input_schema` of a tool, also with `strict` (guide "Structured outputs", 2026)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from dspex_ray.problems import Problem
from dspex_ray.schema.dialects.base import Dialect
from dspex_ray.schema.dialects.strict import STRUCTURE
from dspex_ray.schema.dialects.wording import in_words
from dspex_ray.schema.json_tree import Node, mapped, rooted, subschemas

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_KEPT = STRUCTURE | {"pattern", "format", "default", "minItems", "allOf"}
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


class Anthropic(Dialect):
    """Optional fields stay optional; bounds, lengths and examples become words; every field has a description.

    Objects with free keys and recursive schemas stay as they are: a tool takes them, though not with `strict`.
    """

    name: ClassVar[str] = "anthropic"

    def convert(self, schema: Node) -> Node:
        """Return the schema of a tool's input."""
        return self._node(rooted(schema))

    def _node(self, node: Node) -> Node:
        if "properties" in node:
            node = {**node, "properties": {name: _described(name, one) for name, one in node["properties"].items()}}
        made = mapped(node, self._node)
        if "oneOf" in made:
            made["anyOf"] = made.pop("oneOf")
        if made.get("type") == "object":
            made.setdefault("properties", {})
            made.setdefault("additionalProperties", False)
        kept = _KEPT if made.get("minItems", 0) in (0, 1) else _KEPT - {"minItems"}
        return in_words(made, kept, _FORMATS)

    def problems(self, schema: Node) -> list[Problem]:
        """Return names of fields that are not taken."""
        names = [(path, name) for path, node in subschemas(schema) for name in node.get("properties", {})]
        rule = "a field's name is 1 to 64 of the signs a-z, A-Z, 0-9, _, . and -"
        return [(f"{path}.{name}" if path else name, rule) for path, name in names if not _NAME.fullmatch(name)]


def _described(name: str, node: Any) -> Any:
    if not isinstance(node, dict) or "description" in node or "$ref" in node:
        return node
    return {**node, "description": f"The {name.replace('_', ' ')}."}
