"""Spans as OTLP JSON, which every viewer of traces opens (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspex_ray.store.spans import SpanRecord

_KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_FAILED = 2


def otlp_json(records: Iterable[SpanRecord]) -> dict[str, Any]:
    """Return the `TracesData` object of these spans."""
    scope = {"scope": {"name": "dspex_ray"}, "spans": [_span(record) for record in records]}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "dspex"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _span(record: SpanRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": record.trace_id,
        "spanId": record.span_id,
        "name": record.name,
        "kind": _KINDS.get(record.kind, 1),
        "startTimeUnixNano": str(record.start_ns),
        "endTimeUnixNano": str(record.end_ns),
        "attributes": [{"key": key, "value": _value(value)} for key, value in record.attributes.items()],
        "status": _status(record),
    }
    return found | ({"parentSpanId": record.parent_id} if record.parent_id else {})


def _status(record: SpanRecord) -> dict[str, Any]:
    if record.status != "error":
        return {}
    told = record.attributes.get("dspex.error")
    return {"code": _FAILED} | ({"message": str(told)} if told else {})


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(one) for one in value]}}
        case _:
            return {"stringValue": str(value)}
