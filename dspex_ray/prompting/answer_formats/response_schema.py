"""The JSON Schema of an output as a prompt shows it: without what costs tokens and tells a model nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from dspex_ray.schema import Schema

_CACHED = 256
_NOISE = ("title",)  # keys of pydantic's JSON Schema that cost tokens and tell a model nothing


def response_schema(output: type[Schema]) -> dict[str, Any]:
    """Return the JSON Schema of the output, without titles. Treat it as read-only: it is shared."""
    key: Any = output  # type checkers doubt that a model class can be hashed
    return _response_schema(key)


@lru_cache(maxsize=_CACHED)
def _response_schema(output: Any) -> dict[str, Any]:
    found: dict[str, Any] = _slim(output.model_json_schema())
    return found


def _slim(node: Any, *, names: bool = False) -> Any:
    """Drop titles; `names` says that the keys are the user's field names, which stay whatever they are called."""
    if isinstance(node, dict):
        kept = {k: v for k, v in node.items() if names or k not in _NOISE}
        if names:
            return {k: _slim(v) for k, v in kept.items()}
        literal = ("default", "const", "enum", "examples")
        return {k: v if k in literal else _slim(v, names=k in ("properties", "$defs")) for k, v in kept.items()}
    if isinstance(node, list):
        return [_slim(item) for item in node]
    return node


def field_line(name: str, node: Mapping[str, Any], options: str) -> str:
    """Return one line about a field; `options` is how a choice from several values is told."""
    kind = node.get("type", "value")
    if "enum" in node:
        kind = options
    elif "minimum" in node and "maximum" in node:
        kind = f"{kind} from {node['minimum']} to {node['maximum']}"
    note = f": {node['description']}" if node.get("description") else ""
    optional = f", {as_json(node['default'])} if absent" if "default" in node else ""
    return f"- {name} ({kind}{optional}){note}"


def as_json(value: Any) -> str:
    """Return JSON in one line, with every letter as it is."""
    return json.dumps(value, ensure_ascii=False)


def compact_json(value: Any) -> str:
    """Return JSON in as few characters as it takes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
