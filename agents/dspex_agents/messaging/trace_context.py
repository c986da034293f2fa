"""The trace that the present code belongs to: text that travels with every message, and is not read on this floor."""

from __future__ import annotations

from contextvars import ContextVar

current_trace: ContextVar[str | None] = ContextVar("dspex_trace", default=None)
"""A W3C `traceparent`, or None. An agent handles a message within the trace that its sender was in."""
