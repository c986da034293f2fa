"""Spans by OpenTelemetry: to an OTLP endpoint, or to whatever provider the user has set up."""

from __future__ import annotations

import importlib
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from opentelemetry import context as otel_context
from opentelemetry import trace as otel

from dspex_agents.messaging.trace_context import current_trace
from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import LMReply
from dspex_ray.tracing.content import Content
from dspex_ray.tracing.modes import Mode
from dspex_ray.tracing.open_span import Span
from dspex_ray.tracing.reply_attributes import error_attributes, reply_attributes
from dspex_ray.tracing.settings import NEEDS_EXTRA
from dspex_ray.tracing.traceparent import ids_of, leave, traceparent

_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class OtelTracer:
    """Makes OpenTelemetry's own spans; those that the user opens around or inside ours are of the same tree."""

    def __init__(self, provider: Any, content: Content, *, is_own: bool = False) -> None:
        """`is_own` says that the provider is of no use to anyone else, and ends with the tracer."""
        self.content, self._provider, self._is_own = content, provider, is_own
        self._tracer: otel.Tracer = provider.get_tracer("dspex_ray")

    def start(self, name: str, kind: str, attributes: dict[str, Any]) -> Span:
        """See `Tracer.start`."""
        begun = self._tracer.start_span(
            name, _parent(), kind=otel.SpanKind[kind], attributes=self.content.admitted(attributes)
        )
        return OtelSpan(begun, self.content)

    def flush(self, timeout_s: float) -> bool:
        """See `Tracer.flush`."""
        force = getattr(self._provider, "force_flush", None)
        return True if force is None else bool(force(round(timeout_s * 1000)))

    def close(self, timeout_s: float) -> None:
        """See `Tracer.close`."""
        self.flush(timeout_s)
        if self._is_own:
            self._provider.shutdown()


class OtelSpan(Span):
    """One of OpenTelemetry's spans."""

    __slots__ = ("_content", "_otel_token", "_span", "_token", "is_recorded", "trace_id", "wants_content")

    def __init__(self, begun: otel.Span, content: Content) -> None:
        self._span, self._content = begun, content
        self.is_recorded = begun.is_recording()
        self.wants_content = content.is_kept and self.is_recorded
        self.trace_id = otel.format_trace_id(begun.get_span_context().trace_id)
        self._token: Token[str | None] | None = None
        self._otel_token: Token[otel_context.Context] | None = None

    def set(self, **attributes: Any) -> None:
        """See `Span`."""
        self._span.set_attributes(self._content.admitted(attributes))

    def answered(self, reply: LMReply) -> None:
        """See `Span`."""
        self.set(**reply_attributes(reply, with_text=self.wants_content))

    def fail(self, error: BaseException) -> None:
        """See `Span`."""
        found = self._content.admitted(error_attributes(error))
        self._span.set_attributes(found)
        self._span.set_status(otel.StatusCode.ERROR, found.get("dspex.error"))

    def end(self, error: BaseException | None = None) -> None:
        """See `Span`."""
        if error is not None and self._span.is_recording():
            self.fail(error)
        self._span.end()

    def __enter__(self) -> Self:
        ids = self._span.get_span_context()
        span_id = otel.format_span_id(ids.span_id)
        header = traceparent(self.trace_id, span_id, is_sampled=ids.trace_flags.sampled)
        self._token = current_trace.set(header if ids.is_valid else current_trace.get())
        self._otel_token = otel_context.attach(otel.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._otel_token is not None:
            otel_context.detach(self._otel_token)
        if self._token is not None:
            leave(self._token)
        self.end(error)


def _parent() -> otel_context.Context | None:
    """Return where a new span belongs: below the current span, else where a message or request came from."""
    header = current_trace.get()
    if header is None or otel.get_current_span().get_span_context().is_valid:
        return None
    trace_id, span_id = ids_of(header)
    flags = otel.TraceFlags(int(header[53:55], 16))
    remote = otel.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
    return otel.set_span_in_context(otel.NonRecordingSpan(remote))


def otel_tracer(mode: Mode, provider: Any, content: Content) -> OtelTracer:
    """Return the tracer of a mode. Raises ConfigurationError for `otlp` without the extra `otel`."""
    if mode == "otlp":
        return OtelTracer(_otlp_provider(), content, is_own=True)
    return OtelTracer(otel.get_tracer_provider() if provider is None else provider, content)


def _otlp_provider() -> Any:
    """Return a provider that exports to OTEL_EXPORTER_OTLP_ENDPOINT (by default this machine, port 4318) in batches."""
    try:
        exporter = importlib.import_module(_EXPORTER).OTLPSpanExporter()
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        batches = importlib.import_module("opentelemetry.sdk.trace.export").BatchSpanProcessor(exporter)
        resource = importlib.import_module("opentelemetry.sdk.resources").Resource.create({"service.name": "dspex"})
    except ImportError as error:
        raise ConfigurationError(f"tracing='otlp' {NEEDS_EXTRA}") from error
    provider = sdk.TracerProvider(resource=resource)
    provider.add_span_processor(batches)
    return provider
