"""The W3C `traceparent` header: `00-{trace id}-{span id}-{flags}` (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re
from contextvars import Token

from dspex_agents.messaging.trace_context import current_trace

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LENGTH, _MOST = 55, 512


def traceparent(trace_id: str, span_id: str, *, is_sampled: bool = True) -> str:
    """Return the header of a span."""
    return f"00-{trace_id}-{span_id}-{'01' if is_sampled else '00'}"


def ids_of(header: str) -> tuple[str, str]:
    """Return trace id and span id of a valid header."""
    return header[3:35], header[36:52]


def checked_traceparent(header: str | None) -> str | None:
    """Return the header without what later versions of the standard add, or None if it is not valid."""
    if header is None or len(header) > _MOST or _FORM.fullmatch(header := header.strip()) is None:
        return None
    if len(header) > _LENGTH and header.startswith("00"):
        return None
    return header[:_LENGTH]


def leave(token: Token[str | None]) -> None:
    """Make the outer span the current one again."""
    try:
        current_trace.reset(token)
    except ValueError:  # a stream that was begun in one task and ended in another has no current span to give back
        return
