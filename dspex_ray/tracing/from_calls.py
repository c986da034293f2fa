"""Spans made of the ledger's model calls, for work that was done while tracing was off. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from dspex_ray.store.spans import SpanRecord
from dspex_ray.tracing.providers import provider_and_model

_PLAIN = ("program", "trial", "row", "version", "run_id", "request_id", "agent", "tenant", "cost_usd", "attempts")


def spans_of_calls(name: str, calls: Iterable[Mapping[str, Any]]) -> list[SpanRecord]:
    """Return one span for each call, and one around them all, named after the run or request; none without calls."""
    trace_id = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    root = trace_id[:16]
    made = [_span(trace_id, root, call) for call in calls]
    if not made:
        return []
    start, end = min(one.start_ns for one in made), max(one.end_ns for one in made)
    around = SpanRecord(trace_id=trace_id, span_id=root, name=name, start_ns=start, end_ns=end)
    return [around, *made]


def _span(trace_id: str, parent: str, call: Mapping[str, Any]) -> SpanRecord:
    provider, model = provider_and_model(call["model"])
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": call["prompt_tokens"],
        "gen_ai.usage.output_tokens": call["completion_tokens"],
        "dspex.cached": call["status"] == "cached",
        "dspex.place": call.get("module") or None,
        **{f"dspex.{key}": call.get(key) for key in _PLAIN},
    }
    if error := call.get("error"):
        attributes |= {"error.type": str(error).partition(":")[0], "dspex.error": str(error)}
    start_ns = round(call["at"] * 1e9)
    return SpanRecord(
        trace_id=trace_id,
        span_id=hashlib.blake2b(call["id"].encode(), digest_size=8).hexdigest(),
        parent_id=parent,
        name=f"chat {model}",
        kind="CLIENT",
        start_ns=start_ns,
        end_ns=start_ns + round(call["latency_s"] * 1e9),
        status="ok" if call["status"] in ("ok", "cached") else "error",
        attributes={key: value for key, value in attributes.items() if value is not None},
    )
