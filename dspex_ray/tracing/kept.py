"""Spans of our own making, for the store: no part of OpenTelemetry is loaded for them."""

from __future__ import annotations

import secrets
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.messaging.trace_context import current_trace
from dspex_ray.lm.base import LMReply
from dspex_ray.tracing.content import Content
from dspex_ray.tracing.open_span import Span
from dspex_ray.tracing.reply_attributes import error_attributes, reply_attributes
from dspex_ray.tracing.traceparent import ids_of, leave, traceparent
from dspex_ray.tracing.writer import WRITER, SpanRow, SpanWriter


class KeptTracer:
    """Makes spans, and hands each to the writer when it has ended."""

    def __init__(self, content: Content, writer: SpanWriter, clock: Clock) -> None:
        self.content, self.writer, self.clock = content, writer, clock

    def start(self, name: str, kind: str, attributes: dict[str, Any]) -> Span:
        """See `Tracer.start`."""
        return KeptSpan(self, name, kind, attributes)

    def flush(self, timeout_s: float) -> bool:
        """See `Tracer.flush`."""
        return self.writer.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """See `Tracer.close`."""
        self.writer.flush(timeout_s)


class KeptSpan(Span):
    """A span that is kept when it has ended."""

    __slots__ = (
        "_attributes",
        "_began",
        "_is_over",
        "_kind",
        "_name",
        "_parent_id",
        "_span_id",
        "_start_s",
        "_status",
        "_token",
        "_tracer",
        "trace_id",
        "wants_content",
    )
    is_recorded = True

    def __init__(self, tracer: KeptTracer, name: str, kind: str, attributes: dict[str, Any]) -> None:
        self._tracer, self._name, self._kind = tracer, name, kind
        self.wants_content = tracer.content.is_kept
        self._parent_id: str | None
        outer = current_trace.get()
        self.trace_id, self._parent_id = (secrets.token_hex(16), None) if outer is None else ids_of(outer)
        self._span_id = secrets.token_hex(8)
        self._attributes = tracer.content.admitted(attributes)
        self._status, self._is_over = "ok", False
        self._token: Token[str | None] | None = None
        self._start_s, self._began = tracer.clock.now(), tracer.clock.monotonic()

    def set(self, **attributes: Any) -> None:
        """See `Span`."""
        self._attributes.update(self._tracer.content.admitted(attributes))

    def answered(self, reply: LMReply) -> None:
        """See `Span`."""
        self.set(**reply_attributes(reply, with_text=self.wants_content))

    def fail(self, error: BaseException) -> None:
        """See `Span`."""
        self._status = "error"
        self.set(**error_attributes(error))

    def end(self, error: BaseException | None = None) -> None:
        """See `Span`."""
        if not self._is_over:
            self._is_over = True
            if error is not None:
                self.fail(error)
            self._tracer.writer.put(self._row())

    def __enter__(self) -> Self:
        self._token = current_trace.set(traceparent(self.trace_id, self._span_id))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            leave(self._token)
        self.end(error)

    def _row(self) -> SpanRow:
        took_s = self._tracer.clock.monotonic() - self._began
        return {
            "trace_id": self.trace_id,
            "span_id": self._span_id,
            "parent_id": self._parent_id,
            "name": self._name,
            "kind": self._kind,
            "start_ns": round(self._start_s * 1e9),
            "end_ns": round((self._start_s + took_s) * 1e9),
            "status": self._status,
            "run_id": self._attributes.get("dspex.run_id"),
            "request_id": self._attributes.get("dspex.request_id"),
            "attributes": self._attributes,
        }


def kept_tracer(content: Content) -> KeptTracer:
    """Return the tracer of this process for the mode `store`."""
    return KeptTracer(content, WRITER, SystemClock())
