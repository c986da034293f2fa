"""The OpenAPI 3.1 document of one endpoint, from the JSON Schemas of its input and output."""

from __future__ import annotations

from typing import Any

from dspex_ray.schema.json_tree import components
from dspex_ray.serving.base import ProgramService, StreamingService
from dspex_ray.serving.event_stream import MEDIA_TYPE as EVENTS
from dspex_ray.serving.problem import MEDIA_TYPE

_COMPONENTS = "#/components/schemas/"


def openapi_document(service: ProgramService, name: str, version: str, prefix: str) -> dict[str, Any]:
    """Return the document; `prefix` is the path the endpoint is mounted at, `/route` or the empty string."""
    schemas = {**components("Input", service.input_schema()), **components("Output", service.output_schema())}
    schemas["Problem"] = _PROBLEM
    streams = {f"{prefix}/stream": {"post": _stream_operation(service, name)}}
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": version, "description": service.description},
        "paths": {
            prefix or "/": {"post": _answer_operation(service, name)},
            **(streams if isinstance(service, StreamingService) else {}),
            f"{prefix}/healthz": {"get": _HEALTH},
        },
        "components": {"schemas": schemas},
    }


def _answer_operation(service: ProgramService, name: str) -> dict[str, Any]:
    problems = {status: _problem(text) for status, text in _PROBLEMS.items()}
    return {
        "operationId": name,
        "summary": service.description.strip().split("\n", maxsplit=1)[0],
        "parameters": [_REQUEST_ID],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": f"{_COMPONENTS}Input"}}}},
        "responses": {
            "200": {
                "description": "The program's output.",
                "headers": _HEADERS,
                "content": {"application/json": {"schema": {"$ref": f"{_COMPONENTS}Output"}}},
            },
            **problems,
        },
    }


def _stream_operation(service: ProgramService, name: str) -> dict[str, Any]:
    whole = _answer_operation(service, name)
    described = {
        **_STREAM,
        "headers": {key: _HEADERS[key] for key in ("x-request-id", "x-dspex-version", "x-dspex-arm")},
    }
    return {**whole, "operationId": f"{name}_stream", "responses": {**whole["responses"], "200": described}}


_STREAM = {
    "description": "Server-sent events: `piece` with place, call, delta, partial and complete as the answer grows, "
    "then `output` with the output, or `error` with a problem.",
    "content": {EVENTS: {"schema": {"type": "string"}}},
}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_COMPONENTS}Problem"}}}}


_PROBLEMS = {
    "400": "The body is not valid JSON.",
    "402": "A budget has no room for the model call; `budget`, `limit`, `spent` and `renews_at` say which and when.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "422": "The input breaks its schema; every bad field is listed with its path.",
    "429": "The model's rate limit is reached; `retry-after` says when to come back.",
    "500": "The program failed.",
    "502": "The model's provider failed, or its reply is no valid output.",
    "503": "The model cannot be reached, or the endpoint is overloaded.",
    "504": "No answer in time.",
}

_REQUEST_ID = {
    "name": "x-request-id",
    "in": "header",
    "required": False,
    "description": "Your own id of this request; one is made when it is absent.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}

_HEADERS = {
    "x-request-id": {"description": "The request's id.", "schema": {"type": "string"}},
    "x-dspex-version": {"description": "The version that answered.", "schema": {"type": "string"}},
    "x-dspex-arm": {"description": "Its part in the traffic plan.", "schema": {"type": "string"}},
    "x-dspex-cost-usd": {
        "description": "What the model calls of this request cost; absent when a price is not known.",
        "schema": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
    },
}

_HEALTH = {
    "operationId": "healthz",
    "summary": "Whether this endpoint answers, and which version.",
    "responses": {"200": {"description": "It does.", "content": {"application/json": {"schema": {"type": "object"}}}}},
}

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "budget": {"type": "string"},
        "limit": {"type": "string"},
        "spent": {"type": ["string", "null"]},
        "renews_at": {"type": ["string", "null"], "format": "date-time"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
