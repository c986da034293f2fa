"""`ModelResponse`: what a model answered, as a value of a program."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from dspex_ray.schema.ml_types.tool_call import ToolCall
from dspex_ray.schema.schema import Schema

Count: TypeAlias = Annotated[int, Field(ge=0)]


class ModelUsage(Schema):
    """Tokens as the provider counted them; `cached_tokens` is the part of the prompt billed at the cached rate."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cached_tokens: Count = 0


class ModelResponse(Schema):
    """A reply: its text, who gave it, what it used and why it ended (`stop`, `length`, `tool_calls`, ...)."""

    text: str
    model: str | None = None
    usage: ModelUsage = ModelUsage()
    finish_reason: str = "stop"
    tool_calls: list[ToolCall] = Field(default_factory=list)
