"""`openai`: strict structured output, as OpenAI documents it (guide "Structured model outputs", February 2026)."""

from __future__ import annotations

from typing import ClassVar

from dspex_ray.schema.dialects.strict import Limits, StrictDialect

_NUMBERS = {"multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}


class OpenAI(StrictDialect):
    """Keeps bounds of numbers and lists, patterns and nine formats; lengths of text and defaults become words."""

    name: ClassVar[str] = "openai"

    def __init__(self) -> None:
        """Take the documented table."""
        super().__init__(
            keywords=frozenset({"pattern", "format", "minItems", "maxItems"} | _NUMBERS),
            formats=frozenset(_FORMATS),
            limits=Limits(properties=5000, depth=10, characters=120_000, enum_values=1000, long_enum=(250, 15_000)),
        )
