"""The body of a request: a bounded JSON object, or the problem with it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.requests import Request

from dspex_ray.serving import problem
from dspex_ray.serving.problem import Problem


class BodyTooLargeError(Exception):
    """More bytes than the limit; caught in this module."""


async def read_fields(request: Request, limit_bytes: int) -> dict[str, Any] | Problem:
    """Return the body, of at most `limit_bytes`, as a JSON object, or the problem with it."""
    content_type = request.headers.get("content-type", "")
    if not _is_json(content_type):
        return problem.not_json(content_type)
    try:
        body = await _bounded_body(request, limit_bytes)
        fields = _DECODER.decode(body.decode())
    except BodyTooLargeError:
        return problem.too_large(limit_bytes)
    except (ValueError, RecursionError) as error:
        return problem.malformed(_reason(error))
    if not isinstance(fields, dict):
        return problem.invalid_input((("", f"must be a JSON object, not {_json_kind(fields)}"),))
    return fields


async def _bounded_body(request: Request, limit_bytes: int) -> bytes:
    """Return the body, giving up as soon as it is known to be above the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise BodyTooLargeError
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit_bytes:
            raise BodyTooLargeError
        chunks.append(chunk)
    return b"".join(chunks)


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is no JSON value"
    raise ValueError(msg)


# Made once: `json.loads` makes a new one for each call with options.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "The body is nested too deeply."
    if isinstance(error, UnicodeDecodeError):
        return f"The body is not UTF-8: byte {error.start} cannot be decoded."
    return f"{error}."


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "true or false"),
    (str, "a string"),
    (list, "an array"),
    (int, "a number"),
    (float, "a number"),
)


def _json_kind(value: Any) -> str:
    return next((kind for python_type, kind in _KINDS if isinstance(value, python_type)), "null")
