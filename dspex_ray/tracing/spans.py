"""Opening a span, by what it stands for: names and attributes as OpenTelemetry's GenAI conventions have them.

| kind | span name | kind in OpenTelemetry | `gen_ai.operation.name` |
|---|---|---|---|
| `program` | `invoke_workflow {class}` | INTERNAL | `invoke_workflow` |
| `agent` | `invoke_agent {agent}` | INTERNAL | `invoke_agent` |
| `ask` | `invoke_agent {system}` | CLIENT | `invoke_agent` |
| `model` | `chat {model}` | CLIENT | `chat` |
| `tool` | `execute_tool {tool}` | INTERNAL | `execute_tool` |
| `request` | `{name}` (such as `POST /route`) | SERVER | |
| `step` | `{name}` (such as `optimize Route`) | INTERNAL | |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from dspex_agents.messaging.trace_context import current_trace
from dspex_ray.calls.tags import NO_TAGS, CallTags, current_tags
from dspex_ray.lm.base import LM, LMRequest
from dspex_ray.tracing.content import input_messages
from dspex_ray.tracing.open_span import NO_SPAN, Span
from dspex_ray.tracing.process import PROCESS, active
from dspex_ray.tracing.providers import provider_and_model
from dspex_ray.tracing.traceparent import checked_traceparent, leave

if TYPE_CHECKING:
    from dspex_ray.programs.program import Program

_TAGS = tuple(field.name for field in dataclasses.fields(CallTags) if field.name != "module")
_TAGGED = frozenset({"program", "agent", "request"})  # what is below them is known to be for the same
SpanFor = Literal["program", "agent", "ask", "model", "tool", "request", "step"]
_OPERATIONS = {
    "program": ("invoke_workflow", "INTERNAL", "gen_ai.workflow.name"),
    "agent": ("invoke_agent", "INTERNAL", "gen_ai.agent.name"),
    "ask": ("invoke_agent", "CLIENT", "gen_ai.agent.name"),
    "model": ("chat", "CLIENT", "gen_ai.request.model"),
    "tool": ("execute_tool", "INTERNAL", "gen_ai.tool.name"),
}


def span(kind: SpanFor, name: str, **attributes: Any) -> Span:
    """Return a span to be entered, for work of this kind; one that does nothing while tracing is off."""
    if PROCESS.tracer is None and not PROCESS.is_open:
        return NO_SPAN
    return _started(kind, name, attributes)


def program_span(program: Program) -> Span:
    """Return the span of one call of a program, a sub-program included."""
    if PROCESS.tracer is None and not PROCESS.is_open:
        return NO_SPAN
    place = getattr(program, "place", "")
    named = {"program": program.path, "place": place} if place else {"program": program.path}
    return _started("program", type(program).__name__, named)


def tool_span(name: str, **attributes: Any) -> Span:
    """Return the span of one call of a tool; see `Span` for arguments and results."""
    if PROCESS.tracer is None and not PROCESS.is_open:
        return NO_SPAN
    return _started("tool", name, {"gen_ai.tool.type": "function", **attributes})


def model_span(lm: LM, request: LMRequest) -> Span:
    """Return the span of one model call; tell it the reply with `answered`."""
    if PROCESS.tracer is None and not PROCESS.is_open:
        return NO_SPAN
    provider, model = provider_and_model(lm.model)
    given = {
        "gen_ai.provider.name": provider,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.seed": request.seed,
        "gen_ai.request.stop_sequences": list(request.stop) or None,
        "gen_ai.output.type": "json" if request.response_schema is not None else None,
    }
    opened = _started("model", model, given)
    if opened.is_recorded and opened.wants_content:
        opened.set(**{"gen_ai.input.messages": input_messages(request)})
    return opened


@contextmanager
def within_trace(traceparent: str | None) -> Iterator[None]:
    """Let the spans inside belong to the trace of a `traceparent` header; one that is not valid is passed over."""
    found = checked_traceparent(traceparent)
    if found is None:
        yield
        return
    token = current_trace.set(found)
    try:
        yield
    finally:
        leave(token)


def current_traceparent() -> str | None:
    """Return the present span as a `traceparent` header, to be sent along; None outside any."""
    return current_trace.get()


def _started(kind: SpanFor, name: str, attributes: dict[str, Any]) -> Span:
    tracer = active()
    if tracer is None:
        return NO_SPAN
    operation, otel_kind, name_key = _OPERATIONS.get(kind, ("", "SERVER" if kind == "request" else "INTERNAL", ""))
    told = _told_tags() if kind in _TAGGED else {}
    if not operation:
        return tracer.start(name, otel_kind, {**told, **attributes})
    named = {"gen_ai.operation.name": operation, name_key: name}
    return tracer.start(f"{operation} {name}", otel_kind, {**named, **told, **attributes})


def _told_tags() -> dict[str, Any]:
    tags = current_tags.get()
    return {} if tags is NO_TAGS else {name: getattr(tags, name) for name in _TAGS}
