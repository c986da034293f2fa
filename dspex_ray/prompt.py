"""The one place that turns a schema, an instruction, demonstrations and an input into messages.

The order is stable and goes from what never changes (system) over what changes with the candidate (demonstrations) to
the input, so that a provider's prompt cache can reuse the beginning.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from dspex_ray.example import Example, as_text
from dspex_ray.lm.base import ChatMessage
from dspex_ray.schema import Schema, secret_fields

_CACHED_PROMPTS = 256
_NOISE = ("title",)  # keys of pydantic's JSON Schema that cost tokens and tell a model nothing


def response_schema(output: type[Schema]) -> dict[str, Any]:
    """Return the JSON Schema of the output, without titles. Treat it as read-only: it is shared."""
    key: Any = output  # type checkers doubt that a model class can be hashed
    return _response_schema(key)


@lru_cache(maxsize=_CACHED_PROMPTS)
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


def system_text(output: type[Schema], instruction: str) -> str:
    """Return the system message: the instruction, what each output field is, and the form of the answer."""
    key: Any = output
    return _system_text(key, instruction)


@lru_cache(maxsize=_CACHED_PROMPTS)
def _system_text(output: Any, instruction: str) -> str:
    schema = _response_schema(output)
    fields = "\n".join(_field_line(name, node) for name, node in schema["properties"].items())
    compact = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return (
        f"{instruction}\n\nFields of the answer:\n{fields}\n\n"
        f"Answer with one JSON object and nothing else. Its JSON schema:\n{compact}"
    )


def _field_line(name: str, node: dict[str, Any]) -> str:
    kind = node.get("type", "value")
    if "enum" in node:
        kind = f"one of the {len(node['enum'])} values listed in the schema"
    elif "minimum" in node and "maximum" in node:
        kind = f"{kind} from {node['minimum']} to {node['maximum']}"
    note = f": {node['description']}" if node.get("description") else ""
    optional = f", {json.dumps(node['default'], ensure_ascii=False)} if absent" if "default" in node else ""
    return f"- {name} ({kind}{optional}){note}"


def demo_messages(input_schema: type[Schema], output_schema: type[Schema], example: Example) -> tuple[ChatMessage, ...]:
    """Return one demonstration as a question and its answer. Raises InputError if it breaks a schema."""
    question = _told(input_schema.parse(example.input))
    answer = output_schema.parse(example.output).model_dump(mode="json", exclude_unset=True)
    return ChatMessage("user", as_text(question)), ChatMessage("assistant", json.dumps(answer, ensure_ascii=False))


def render(
    output_schema: type[Schema], instruction: str, demos: Sequence[tuple[ChatMessage, ...]], values: Schema
) -> tuple[ChatMessage, ...]:
    """Return the messages of one call: system, then the demonstrations in their order, then the input."""
    system = ChatMessage("system", system_text(output_schema, instruction))
    question = ChatMessage("user", as_text(_told(values)))
    return (system, *(message for demo in demos for message in demo), question)


def _told(values: Schema) -> dict[str, Any]:
    """Return the input as JSON without the fields that hold a secret."""
    return values.model_dump(mode="json", exclude=set(secret_fields(type(values))))


def ask_again(messages: tuple[ChatMessage, ...], raw: str, complaint: str) -> tuple[ChatMessage, ...]:
    """Return the conversation with the bad reply and what is wrong with it."""
    return (
        *messages,
        ChatMessage("assistant", raw or "(no text)"),
        ChatMessage(
            "user",
            f"That is not a valid answer. {complaint}\nAnswer again with one JSON object that follows the schema, "
            "and nothing else.",
        ),
    )
