"""A JSON Schema filled from a message alone: labels by shared words, numbers from their bounds, texts from the text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_ray.lm.ngrams import HashedNgrams

_TEXT_LENGTH = 200
_DEPTH = 6
_MOST_ITEMS = 16


def zero_shot(schema: Mapping[str, Any], message: str, ngrams: HashedNgrams) -> str:
    """Return a JSON object text with a value for every property of the schema.

    An enum takes the label whose words are nearest to the message (the first of equals), a number its default or the
    middle of its bounds or 0, a string the message shortened, a boolean its default or false, an array as few items as
    allowed, an object its own properties. Other constraints (patterns, formats, unions beyond their first branch)
    are not looked at.
    """
    filled = _Filler(schema, message, ngrams).fill(schema, 0)
    return json.dumps(filled if isinstance(filled, dict) else {}, ensure_ascii=False)


def completed(text: str, schema: Mapping[str, Any], message: str, ngrams: HashedNgrams) -> str:
    """Return a JSON object text with the properties the schema requires and it lacks; any other text as it is."""
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        return text
    required = schema.get("required", ())
    missing = [name for name in required if name not in known] if isinstance(known, dict) else []
    if not missing:
        return text
    properties = {name: schema["properties"][name] for name in missing if name in schema.get("properties", {})}
    filled = json.loads(zero_shot({**schema, "properties": properties}, message, ngrams))
    return json.dumps({**filled, **known}, ensure_ascii=False)


def shortened(text: str, most: int = _TEXT_LENGTH) -> str:
    """Return the text in one line of at most `most` characters, those that UTF-8 cannot hold replaced."""
    return " ".join(text.split())[:most].encode("utf-8", "replace").decode("utf-8")


class _Filler:
    """One schema and one message; `fill` walks the schema down."""

    def __init__(self, root: Mapping[str, Any], message: str, ngrams: HashedNgrams) -> None:
        self._root, self._message, self._ngrams = root, message, ngrams

    def fill(self, schema: Mapping[str, Any], depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._label(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return self._branch(schema, schema[keyword], depth)
        kind = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), None)
        return self._typed(kind, schema, depth)

    def _typed(self, kind: str | None, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                items = min(int(schema.get("minItems", 0)), _MOST_ITEMS) if depth < _DEPTH else 0
                return [self.fill(schema.get("items") or {"type": "string"}, depth + 1) for _ in range(items)]
            case "string":
                return self._text(schema)
            case "number" | "integer":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return bool(schema.get("default", False))
            case _:
                return schema.get("default")

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Fill the properties; deep in a schema that contains itself only those without which it is invalid."""
        properties = schema.get("properties", {})
        if depth >= _DEPTH:
            return {}
        return {name: self.fill(part, depth + 1) for name, part in properties.items()}

    def _branch(self, schema: Mapping[str, Any], branches: Sequence[Any], depth: int) -> Any:
        """Fill the first branch that is not null; a union of constants (a Literal spelt so) is a choice of labels."""
        resolved = [self._resolved(branch) for branch in branches]
        if all("const" in branch for branch in resolved):
            return self._label([branch["const"] for branch in resolved])
        chosen = next((branch for branch in resolved if branch.get("type") != "null"), {"type": "null"})
        if "default" in schema and schema["default"] is not None:
            chosen = {**chosen, "default": schema["default"]}
        return self.fill(chosen, depth)

    def _label(self, labels: Sequence[Any]) -> Any:
        words = [str(label).replace("_", " ").replace("-", " ") for label in labels]
        return labels[self._ngrams.nearest(words, self._message)]

    def _text(self, schema: Mapping[str, Any]) -> str:
        text = shortened(self._message, min(_TEXT_LENGTH, int(schema.get("maxLength", _TEXT_LENGTH))))
        return text.ljust(int(schema.get("minLength", 0)), ".")

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        """Follow `$ref` within the document and the single `allOf` that wraps one; a dangling reference is empty."""
        for _ in range(_DEPTH):
            if not isinstance(schema, Mapping):
                return {}
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._at(str(schema["$ref"])), **rest}
            elif len(schema.get("allOf", ())) == 1:
                rest = {key: value for key, value in schema.items() if key != "allOf"}
                schema = {**schema["allOf"][0], **rest}
            else:
                return schema
        return {}

    def _at(self, reference: str) -> Mapping[str, Any]:
        place: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            place = place.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(place, Mapping) else {}
        return place if isinstance(place, Mapping) else {}


def _number(schema: Mapping[str, Any], *, whole: bool) -> float | int:
    """Return the default, else the middle of the bounds, else the allowed number nearest to 0."""
    default = schema.get("default")
    if isinstance(default, int | float) and not isinstance(default, bool):
        return default
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if whole:
        low = math.ceil(low) if low is not None else None if above is None else math.floor(above) + 1
        high = math.floor(high) if high is not None else None if below is None else math.ceil(below) - 1
    elif low is None and high is None and (above is None) != (below is None):
        low, high = None if above is None else above + 1, None if below is None else below - 1
    else:
        low, high = above if low is None else low, below if high is None else high
    return _middle(low, high, whole=whole)


def _middle(low: float | None, high: float | None, *, whole: bool) -> float | int:
    if low is not None and high is not None:
        return (low + high) // 2 if whole else (low + high) / 2
    zero: float | int = 0 if whole else 0.0
    if low is not None:
        return max(low, zero)
    return zero if high is None else min(high, zero)
