"""Attributes that tell how a model call, or any work, came out."""

from __future__ import annotations

from typing import Any

from dspex_ray.errors import LMError
from dspex_ray.lm.base import LMReply
from dspex_ray.tracing.content import output_messages
from dspex_ray.tracing.providers import provider_and_model


def reply_attributes(reply: LMReply, *, with_text: bool) -> dict[str, Any]:
    """Return what is known of a reply; a `cached` one reached no provider and has no tokens."""
    usage = reply.usage
    found: dict[str, Any] = {
        "gen_ai.response.model": provider_and_model(reply.model)[1],
        "gen_ai.response.id": reply.request_id,
        "gen_ai.response.finish_reasons": [reply.finish_reason],
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
        "dspex.cost_usd": reply.cost_usd,
        "dspex.attempts": reply.attempts,
        "dspex.cached": reply.cached,
    }
    if with_text:
        found["gen_ai.output.messages"] = output_messages(reply)
    return found


def error_attributes(error: BaseException) -> dict[str, Any]:
    """Return the kind of an error, its text, which counts as content, and what a failed model call took."""
    found: dict[str, Any] = {"error.type": type(error).__name__, "dspex.error": str(error)}
    if isinstance(error, LMError):
        found |= reply_attributes(error.billed, with_text=False) if error.billed else {}
        found["dspex.attempts"] = error.attempts
    return found
