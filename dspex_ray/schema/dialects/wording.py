"""Keywords of JSON Schema in words, for receivers that take the words but not the keyword."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from dspex_ray.schema.json_tree import Node

_PHRASES = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "matching {}",
    "format": "in the format {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} entries",
    "maxProperties": "at most {} entries",
    "default": "{} if nothing is known",
    "contentMediaType": "content of type {}",
    "contentEncoding": "encoded as {}",
}
_ORDER = {key: place for place, key in enumerate(_PHRASES)}
_SILENT = ("title", "discriminator", "readOnly", "writeOnly", "deprecated", "$schema")


def in_words(node: Node, kept: Container[str], formats: Container[str]) -> Node:
    """Return the node with its description saying what the keywords say that are not `kept`."""
    made: Node = {}
    phrases: list[str] = []
    for key, value in sorted(node.items(), key=_place):
        if key in kept and not (key == "format" and value not in formats):
            made[key] = value
        elif phrase := _phrase(key, value):
            phrases.append(phrase)
    if phrases:
        said = str(made.get("description", "")).strip()
        told = f"{said}{'' if not said or said.endswith('.') else '.'} ({'; '.join(phrases)})".strip()
        made["description"] = told
    return made


def _place(item: tuple[str, Any]) -> int:
    return _ORDER.get(item[0], -1)


def _phrase(key: str, value: Any) -> str:
    if key in _SILENT or (key == "default" and value is None):
        return ""
    if key == "uniqueItems":
        return "no item twice" if value else ""
    if key == "examples":
        return f"for example {', '.join(_text(one) for one in value)}"
    return _PHRASES[key].format(_text(value)) if key in _PHRASES else f"{key}: {_text(value)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
