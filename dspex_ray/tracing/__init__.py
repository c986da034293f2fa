"""Tracing: spans from program to agent to model call, in one trace across processes; off unless asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_ray.tracing.content import Redactor
    from dspex_ray.tracing.open_span import NO_SPAN, Span
    from dspex_ray.tracing.process import flush
    from dspex_ray.tracing.settings import TracingSettings
    from dspex_ray.tracing.spans import (
        current_traceparent,
        model_span,
        program_span,
        span,
        tool_span,
        within_trace,
    )

__all__ = [
    "NO_SPAN",
    "Redactor",
    "Span",
    "TracingSettings",
    "current_traceparent",
    "flush",
    "model_span",
    "program_span",
    "span",
    "tool_span",
    "within_trace",
]
_MODULES = {
    "content": ("Redactor",),
    "process": ("flush",),
    "settings": ("TracingSettings",),
    "open_span": ("NO_SPAN", "Span"),
    "spans": ("current_traceparent", "model_span", "program_span", "span", "tool_span", "within_trace"),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
