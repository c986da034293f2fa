"""`ReasoningChain`: the steps by which an answer was found."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from dspex_ray.schema.schema import Schema

Text: TypeAlias = Annotated[str, Field(min_length=1)]


class ReasoningStep(Schema):
    """One step: what is done, and why."""

    step: Text
    reasoning: Text


ReasoningChain: TypeAlias = Annotated[list[ReasoningStep], Field(min_length=1)]
"""At least one step, in order."""
