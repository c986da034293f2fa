"""`ToolCall`: the name of a tool and what it is called with."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field, JsonValue

from dspex_ray.prompting.loose_json import LooseJSONError, read_text
from dspex_ray.schema.ml_types.base import worded
from dspex_ray.schema.schema import Schema


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return read_text(value or "{}")
    except LooseJSONError as error:
        raise worded(f"the arguments are no JSON object: {error}") from error


Arguments: TypeAlias = Annotated[dict[str, JsonValue], BeforeValidator(_decoded, json_schema_input_type=dict[str, Any])]
"""Arguments by name; the JSON text that providers send is read strictly."""


class ToolCall(Schema):
    """One call that a model asks for. `id` ties the tool's answer to it, where the provider gives one."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    arguments: Arguments = Field(default_factory=dict)
    id: str | None = None
