"""What is known of a provider behind litellm before it is asked: its structured output and its prompt cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dspex_ray.lm.dialect import Dialect

_ANTHROPIC = "anthropic"
_CLAUDE = "claude"
_GROQ = "groq"
_MARK = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True)
class Traits:
    """The protocol to begin with, and whether the end of what is stable has to be marked for the prompt cache."""

    dialect: Dialect
    marks_cache: bool

    @staticmethod
    def of(provider: str, model: str, *, takes_schema: bool, caches: bool) -> Traits:
        """Return the traits; `takes_schema` and `caches` are what litellm's table says, True where it says nothing."""
        claude = provider == _ANTHROPIC or _CLAUDE in model
        dialect = Dialect(
            response_format="json_schema" if takes_schema else "json_object",
            schema_dialect=_ANTHROPIC if claude else _GROQ if provider == _GROQ else "openai",
        )
        return Traits(dialect, claude and caches)


def marked(messages: Sequence[Mapping[str, Any]], stable: int) -> list[dict[str, Any]]:
    """Return the wire messages with the last of the first `stable` marked as the end of what is worth keeping.

    The mark is Anthropic's `cache_control`, which empty texts may not carry; what is before it is kept with it.
    """
    made = [dict(message) for message in messages]
    for message in reversed(made[:stable]):
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        if parts and parts[-1].get("text") != "":
            message["content"] = [*parts[:-1], {**parts[-1], "cache_control": _MARK}]
            break
    return made
