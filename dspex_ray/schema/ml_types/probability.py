"""`Probability` and `ConfidenceScore`: numbers from 0 to 1."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""How likely something is, from 0 to 1."""

ConfidenceScore: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""How sure a model says it is, from 0 to 1; unlike a probability it need not be calibrated."""
