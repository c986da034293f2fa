"""The body of a request as bytes: what many requests have in common is encoded once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dspex_ray.lm.base import LMRequest, wire_messages
from dspex_ray.lm.dialect import Dialect

_KEPT = 256
_LONGEST = 100_000  # characters; with the above, 26 MB at most


def encoded_body(dialect: Dialect, wire_model: str, request: LMRequest, *, stream: bool) -> bytes:
    """Return `dialect.body(...)` as JSON in UTF-8.

    The stable messages and the response schema are recognised by their identity, so a schema must not be changed
    between calls.
    """
    stable, rest = request.messages[: request.stable_messages], request.messages[request.stable_messages :]
    texts = [_once(stable, _listed)] if stable else []
    if rest:
        texts.append(_listed(rest))
    head = json.dumps({"model": wire_model, **dialect.options(request, stream=stream)})[:-1]
    body = f'{head}, "messages": [{", ".join(texts)}]'
    if request.response_schema is not None:
        body += _once((request.response_schema, dialect), lambda _: _response_format(dialect, request))
    return f"{body}}}".encode()


def _listed(messages: tuple[Any, ...]) -> str:
    return json.dumps(wire_messages(messages))[1:-1]


def _response_format(dialect: Dialect, request: LMRequest) -> str:
    found = dialect.format_of(request)
    return "" if found is None else f', "response_format": {json.dumps(found)}'


_KNOWN: dict[tuple[int, ...], tuple[tuple[Any, ...], str]] = {}


def _once(parts: tuple[Any, ...], encode: Callable[[tuple[Any, ...]], str]) -> str:
    """Return what `encode` makes of these very objects, kept with them so that no other can have their identity."""
    key = tuple(map(id, parts))
    if (known := _KNOWN.get(key)) is not None:
        return known[1]
    text = encode(parts)
    if len(text) <= _LONGEST:
        if len(_KNOWN) >= _KEPT:
            _KNOWN.clear()
        _KNOWN[key] = (parts, text)
    return text
