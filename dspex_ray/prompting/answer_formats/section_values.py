"""What stands in one section of an answer, as a value and back; the table in `sections.py` tells the rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dspex_ray.prompting.answer_formats.headings import Headings
from dspex_ray.prompting.answer_formats.response_schema import as_json
from dspex_ray.prompting.loose_json import Conflict, LooseJSONError, read_loosely, read_text
from dspex_ray.prompting.reply import said_option

_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_EMPHASIS = "*`"
_DEEPEST = 16
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field takes: text, text and something else, one of the texts in `options`, or a value that is no text."""

    takes: Literal["text", "mixed", "option", "value"]
    options: tuple[str, ...] = ()


def kind_of(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Kind:
    """Return the kind of a field by its JSON Schema."""
    options = _resolved(node, definitions).get("enum", ())
    if options and all(isinstance(option, str) for option in options):
        return Kind("option", tuple(options))
    types = _types(node, definitions, 0)
    if types == {"string"}:
        return Kind("text")
    return Kind("mixed" if types & {"string", "any"} else "value")


def read_value(content: str, kind: Kind) -> Any:
    """Return the value of a section that is not empty. Raises Conflict for JSON that contradicts itself."""
    if kind.takes == "option":
        found = said_option(content, kind.options)
        return _as_text(content) if found is None else found
    if kind.takes == "text":
        return _as_text(content)
    if kind.takes == "mixed":
        value = None if content == "None" else _as_json(content)
        return content if value is _NOTHING else value
    fenced = _FENCED.fullmatch(content)
    bare = fenced.group(1) if fenced else content.strip(_EMPHASIS).strip()
    try:
        return read_loosely(bare)
    except Conflict:
        raise
    except LooseJSONError:
        return bare  # validation says what is wrong with it, or that it spells the value after all


def spelt(value: Any, kind: Kind, headings: Headings) -> str:
    """Return the content of a section: a text as it is where it is read back so, else JSON."""
    if kind.takes == "value" or not isinstance(value, str):
        return as_json(value)
    plain = value and value == value.strip() and not value.startswith('"') and headings.stands_alone(value)
    if plain and kind.takes == "mixed":
        plain = value != "None" and not _is_json(value)
    return value if plain else as_json(value)


def _as_text(content: str) -> str:
    quoted = _as_json(content) if content.startswith('"') else _NOTHING
    return quoted if isinstance(quoted, str) else content


def _as_json(content: str) -> Any:
    try:
        return read_text(content)
    except Conflict:
        raise
    except LooseJSONError:
        return _NOTHING


def _is_json(content: str) -> bool:
    try:
        return _as_json(content) is not _NOTHING
    except Conflict:
        return True


def _types(node: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> set[str]:
    node = _resolved(node, definitions)
    for keyword in ("anyOf", "oneOf"):
        if keyword in node:
            if depth > _DEEPEST:
                return {"any"}
            return {kind for one in node[keyword] for kind in _types(one, definitions, depth + 1)}
    if "enum" in node or "const" in node:
        values = node["enum"] if "enum" in node else [node["const"]]
        return {"string" if isinstance(value, str) else "value" for value in values}
    kinds = node.get("type", "any")
    return set(kinds) if isinstance(kinds, list) else {kinds}


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(_DEEPEST):
        if "$ref" in node:
            node = definitions.get(str(node["$ref"]).rpartition("/")[2], {})
        elif len(node.get("allOf", ())) == 1:
            node = node["allOf"][0]
        else:
            break
    return node
