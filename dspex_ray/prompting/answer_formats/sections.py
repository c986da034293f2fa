"""`text`: the answer is a headed section for each field, for models that are poor at JSON.

| type of the field | its section holds |
|---|---|
| text | the text as it is, without the white space around it; or a JSON string in double quotes |
| text or something else | the other value as JSON (`null`, `3`), else text, as above |
| one of several texts | the text, in whatever case, quotes or emphasis |
| all others | JSON (or text that spells the value exactly, as in data files) |

A heading is a line `## field`; `[[ ## field ## ]]`, a bold `**field:** value` and a bare `field: value` count too,
each only where the ways before it do not give every field that is needed. Headings within a code fence are the text of
a field, unless there are no others. Anything before the first heading and after `## end` is left aside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from dspex_ray.errors import OutputError
from dspex_ray.problems import joined, shown
from dspex_ray.prompting.answer_formats.base import AnswerFormat, S
from dspex_ray.prompting.answer_formats.headings import Headings, ways
from dspex_ray.prompting.answer_formats.response_schema import as_json, compact_json, field_line, response_schema
from dspex_ray.prompting.answer_formats.section_values import Kind, kind_of, read_value, spelt
from dspex_ray.prompting.loose_json import Conflict
from dspex_ray.prompting.reply import parse_reply, without_thoughts
from dspex_ray.schema import Schema, check

_OBJECT = re.compile(r"\s*(?:```\w*\s*)?\{")  # the keys of a JSON object, without quotes, look like bare headings


class Sections(AnswerFormat):
    """See the module's docstring."""

    name: ClassVar[str] = "text"
    again: ClassVar[str] = "Answer again in the form that was asked for: each heading on its own line, then its value."

    def asked(self, output: type[Schema]) -> str:
        """Return a line for each field, the form, and the schema of the values that are neither text nor number."""
        schema = response_schema(output)
        nodes: dict[str, Any] = schema["properties"]
        fields = "\n".join(
            field_line(name, node, f"one of {', '.join(as_json(one) for one in node.get('enum', ()))}")
            for name, node in nodes.items()
        )
        headings, kinds = _plan(output)
        hints = {name: _hint(kinds[name], node) for name, node in nodes.items()}
        form = "\n".join(f"## {name}\n<{hint}>" for name, hint in hints.items())
        deep = {name: nodes[name] for name, hint in hints.items() if "JSON" in hint}
        rest = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        told = f"\nJSON schema of {', '.join(deep)}:\n{compact_json({'properties': deep, **rest})}" if deep else ""
        return (
            f"Fields of the answer:\n{fields}\n\nAnswer in this form and nothing else, each heading on its own line:\n"
            f"{form}\n## {headings.end}{told}"
        )

    def answer(self, output: type[Schema], values: Mapping[str, Any]) -> str:
        """Return the sections of these values, in the schema's order."""
        headings, kinds = _plan(output)
        parts = [f"## {name}\n{spelt(values[name], kind, headings)}" for name, kind in kinds.items() if name in values]
        return "\n".join([*parts, f"## {headings.end}"])

    def read(self, text: str, output: type[S]) -> S:
        """Return what the sections say; a reply without any may still be the JSON object."""
        headings, kinds = _plan(output)
        said = without_thoughts(text)
        found = list(ways(said, headings, bare=not _OBJECT.match(said)))
        if not found:
            return parse_reply(text, output)
        sections = max(found, key=len)  # the plainest of those that give as many fields
        values: dict[str, Any] = {}
        conflicts: list[str] = []
        for name, contents in sections.items():
            given = list(dict.fromkeys(filter(None, contents)))
            if len(given) > 1:
                conflicts.append(f"{name} has {len(given)} sections, {' and '.join(map(shown, given[:2]))}")
                continue
            try:
                values.update((name, read_value(content, kinds[name])) for content in given)
            except Conflict as error:
                conflicts.append(f"{name}: {error}")
        if conflicts:
            raise OutputError(f"The reply contradicts itself: {'; '.join(conflicts)}.", text)
        made = check(output, values)
        if not isinstance(made, output):
            raise OutputError(f"The reply's sections do not fit: {joined(made)}.", text)
        return made


def _plan(output: type[Schema]) -> tuple[Headings, Mapping[str, Kind]]:
    key: Any = output
    return _kept_plan(key)


@lru_cache(maxsize=256)
def _kept_plan(output: Any) -> tuple[Headings, Mapping[str, Kind]]:
    schema = response_schema(output)
    kinds = {name: kind_of(node, schema.get("$defs", {})) for name, node in schema["properties"].items()}
    return Headings.of(tuple(kinds)), kinds


def _hint(kind: Kind, node: Mapping[str, Any]) -> str:
    if kind.takes == "value":
        scalars = {"number": "number", "integer": "whole number", "boolean": "true or false"}
        return scalars.get(str(node.get("type")), "JSON")
    return {"option": "one of its values", "text": "text", "mixed": "text, or what is no text as JSON"}[kind.takes]
