"""What stands in front of Ray Serve's own HTTP layer in every replica: sane request ids, and errors as problems.

Serve finds `middlewares` through `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH` (see `mode.py`) and puts them outermost,
before its own request-id middleware. Serve's proxies import this module too, so it stays light.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dspex_agents.ids import IdSource, RandomIds
from dspex_ray.serving import problem
from dspex_ray.serving.request_id import HEADER as REQUEST_ID
from dspex_ray.serving.request_id import is_sane_request_id

_ID_KEY = REQUEST_ID.encode()

# Serve acts on the last two when a client sends them; an endpoint's limits are not the client's to change.
_REPLACED = frozenset({_ID_KEY, b"x-request-timeout-seconds", b"x-request-disconnect-disabled"})

_FIRST_ERROR_STATUS = 400


def middlewares() -> list[Middleware]:
    """Return the middlewares Serve is to apply."""
    return [Middleware(Edge)]


class Edge:
    """Replaces an absent or insane `x-request-id`, and rewrites Serve's own plain-text errors as problems."""

    def __init__(self, app: ASGIApp, ids: IdSource | None = None) -> None:
        self._app, self._ids = app, ids or RandomIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on."""
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for key, value in scope["headers"] if key == _ID_KEY), None)
        request_id = given if given is not None and is_sane_request_id(given) else self._ids.new("req")
        kept = [pair for pair in scope["headers"] if pair[0] not in _REPLACED]
        scope["headers"] = [*kept, (_ID_KEY, request_id.encode())]
        await self._app(scope, receive, _ProblemSender(send, request_id))


class _ProblemSender:
    """Sends messages on, but holds back a plain-text error until its text is whole and sends a problem instead."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self._start: Message | None = None
        self._text = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_plain_error(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._text += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_problem(self._start)

    async def _send_problem(self, start: Message) -> None:
        kept = {key: value for key, value in Headers(scope=start).items() if key in {"retry-after", "allow"}}
        status = int(start["status"])
        detail = _SERVE_TEXTS.get(status, "The endpoint could not take this request.")
        found = problem.of_status(status, detail, kept)
        body = json.dumps(found.as_json(self._request_id)).encode()
        headers = {
            **kept,
            REQUEST_ID: self._request_id,
            "content-type": problem.MEDIA_TYPE,
            "content-length": str(len(body)),
        }
        raw: list[tuple[bytes, bytes]] = [(key.encode(), value.encode()) for key, value in headers.items()]
        opening: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": raw}
        await self._send(opening)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


_SERVE_TEXTS = {
    404: "No endpoint is deployed at this path.",
    408: "The request's time limit is over.",
    503: "More requests are waiting than this endpoint accepts. Try again later.",
}


def _is_plain_error(message: Message) -> bool:
    if int(message["status"]) < _FIRST_ERROR_STATUS:
        return False
    return not Headers(scope=message).get("content-type", "").endswith("json")
