"""`groq`: strict structured output, whose guide names structure only, so that every constraint becomes words."""

from __future__ import annotations

from typing import ClassVar

from dspex_ray.schema.dialects.strict import StrictDialect


class Groq(StrictDialect):
    """Keeps types, enums, `anyOf` and references."""

    name: ClassVar[str] = "groq"
