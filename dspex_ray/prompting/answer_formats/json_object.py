"""`json`: the answer is one JSON object, held to its schema by the provider where it can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dspex_ray.prompting.answer_formats.base import AnswerFormat, S
from dspex_ray.prompting.answer_formats.response_schema import as_json, compact_json, field_line, response_schema
from dspex_ray.prompting.reply import parse_reply
from dspex_ray.schema import Schema


class JSONObject(AnswerFormat):
    """One object with the output's fields; `dspex_ray.prompting.reply` says how it is read."""

    name: ClassVar[str] = "json"
    again: ClassVar[str] = "Answer again with one JSON object that follows the schema, and nothing else."

    def asked(self, output: type[Schema]) -> str:
        """Return a line for each field and the schema."""
        schema = response_schema(output)
        fields = "\n".join(
            field_line(name, node, f"one of the {len(node.get('enum', ()))} values listed in the schema")
            for name, node in schema["properties"].items()
        )
        return (
            f"Fields of the answer:\n{fields}\n\n"
            f"Answer with one JSON object and nothing else. Its JSON schema:\n{compact_json(schema)}"
        )

    def answer(self, output: type[Schema], values: Mapping[str, Any]) -> str:  # noqa: ARG002 - as the contract says
        """Return the object."""
        return as_json(dict(values))

    def read(self, text: str, output: type[S]) -> S:
        """Return what the reply's one object says."""
        return parse_reply(text, output)

    def schema(self, output: type[Schema]) -> Mapping[str, Any] | None:
        """Return the schema, for the provider."""
        return response_schema(output)
