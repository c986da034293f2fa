"""What a prompt asks for, whatever its layout: the fields of the answer, the question, and the demonstrations.

Nothing here knows a system's prompts: fields are found as JSON Schema, as `[[ ## field ## ]]` markers, as `## field`
headings or as a list in backticks; a question is the last reference in the conversation, a demonstration any before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from optimizers_bench.rules import REFERENCE

Form = Literal["json", "markers", "headings", "fences", "plain"]
Schema = Mapping[str, Any]
_MARKER = re.compile(r"`\[\[ ## (\w+) ## \]\]`(?: \(must be formatted as a valid Python ([^`]*?)\)(?=[,.]| and|$))?")
_LISTED = re.compile(r"`(\w+)`(?: \(must be formatted as a valid Python ([^`]*?)\)(?=[,.]|$))?")
_HEADING = re.compile(r"^## (\w+)\n<([^>\n]*)>", re.MULTILINE)
_END = re.compile(r"^## (\w+)$", re.MULTILINE)
_SIMPLE: dict[str, Schema] = {
    "int": {"type": "integer"}, "float": {"type": "number"}, "bool": {"type": "boolean"}, "str": {"type": "string"},
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """The form of the answer and its fields in their order, each with a JSON Schema."""

    form: Form
    fields: Mapping[str, Schema]
    definitions: Mapping[str, Any]
    end: str = "completed"


@dataclass(frozen=True)
class Shown:
    """What stands behind one reference, up to the next one."""

    reference: str
    text: str


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, whose content may be in parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)


def asked_of(body: Mapping[str, Any]) -> Asked:
    """Return what the answer is to look like."""
    texts = [text_of(message) for message in body["messages"] if message["role"] != "assistant"]
    last = texts[-1] if texts else ""
    sent = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    if isinstance(sent, dict) and "properties" in sent:
        return Asked("json", sent["properties"], sent.get("$defs", {}))
    if found := _MARKER.findall(last):
        names = {name: _schema_of(kind) for name, kind in found}
        ends = [name for name in names if name == "completed"]
        return Asked("markers", {name: one for name, one in names.items() if name not in ends}, {}, "completed")
    if "JSON object" in last and (found := _LISTED.findall(last[last.rindex("JSON object") :])):
        return Asked("json", {name: _schema_of(kind) for name, kind in found}, {})
    for text in texts:
        if (schema := _schema_in(text)) is not None:
            return Asked("json", schema["properties"], schema.get("$defs", {}))
    for text in texts:
        if found := _HEADING.findall(text):
            names = {name: _hinted(hint) for name, hint in found}
            rest = [name for name in _END.findall(text) if name not in names]
            return Asked("headings", names, {}, rest[-1] if rest else "end")
    return Asked("fences" if "```" in last else "plain", {"text": _SIMPLE["str"]}, {})


def shown_in(texts: Sequence[str]) -> list[Shown]:
    """Return what is shown, reference by reference; repeats of one reference in a row are one."""
    found = list[Shown]()
    for text in texts:
        marks = list(REFERENCE.finditer(text))
        ends = [*(mark.start() for mark in marks[1:]), len(text)]
        for mark, end in zip(marks, ends, strict=False):
            piece = text[mark.start() : end]
            if found and found[-1].reference == mark.group():
                found[-1] = Shown(mark.group(), f"{found[-1].text}\n{piece}")
            else:
                found.append(Shown(mark.group(), piece))
        if not marks and found:
            found[-1] = Shown(found[-1].reference, f"{found[-1].text}\n{text}")
    return found


def value_of(field: str, text: str) -> str | None:
    """Return the value that a text gives a field, in any of the usual layouts; None where it gives none."""
    found = re.search(rf"\b{field}\b[^\w\n-]{{0,8}}\n?[\"' ]*(-?[^\n\"{{}}]+)", text)
    if found is None:
        return None
    value = re.split(r"\\n|,\s*$", found.group(1))[0].strip().strip("\"',").strip()
    return value or None


def _schema_in(text: str) -> dict[str, Any] | None:
    """Return the JSON Schema of an object that stands in a text."""
    for found in re.finditer(r"\{\"", text):
        try:
            read, _ = json.JSONDecoder().raw_decode(text, found.start())
        except ValueError:
            continue
        if isinstance(read, dict) and isinstance(read.get("properties"), dict):
            return read
    return None


def _schema_of(kind: str) -> Schema:
    if kind.startswith("dict"):
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if kind.startswith("list"):
        inner = kind[kind.find("[") + 1 : kind.rfind("]")]
        return {"type": "array", "items": _schema_of(inner)}
    return _SIMPLE.get(kind, _SIMPLE["str"])


def _hinted(hint: str) -> Schema:
    return {"number": _SIMPLE["float"], "whole number": _SIMPLE["int"], "true or false": _SIMPLE["bool"]}.get(
        hint, {} if "JSON" in hint else _SIMPLE["str"]
    )
