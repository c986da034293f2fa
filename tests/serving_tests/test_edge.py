"""The middleware in front of Serve's HTTP layer."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dspex_agents.ids import CountingIds
from dspex_ray.serving.edge import Edge, middlewares


class LikeServe:
    """Adds the request id to each response as Serve does, and answers with `response`."""

    def __init__(self, response: Response) -> None:
        self.response, self.seen = response, {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen: dict[str, str] = {key.decode(): value.decode() for key, value in scope["headers"]}

        async def with_id(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-request-id", self.seen.get("x-request-id", "").encode()))
            await send(message)

        await self.response(scope, receive, with_id)


def ask(app: ASGIApp, path: str = "/route", **headers: str) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(Edge(app, CountingIds()))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, headers={key.replace("_", "-"): value for key, value in headers.items()})

    return asyncio.run(once())


def test_a_sane_id_passes_and_an_insane_one_is_replaced_for_everybody_behind() -> None:
    for given, expected in (("mine", "mine"), ("x" * 500, "req-1")):
        app = LikeServe(Response("{}", media_type="application/json"))
        assert ask(app, x_request_id=given).headers.get_list("x-request-id") == [expected]
        assert app.seen["x-request-id"] == expected


def test_an_absent_id_is_made() -> None:
    app = LikeServe(Response("{}"))
    ask(app)
    assert app.seen["x-request-id"] == "req-1"


def test_serves_own_control_headers_are_not_taken_from_clients() -> None:
    app = LikeServe(Response("{}"))
    ask(app, x_request_timeout_seconds="0.001", x_request_disconnect_disabled="?1")
    assert not {"x-request-timeout-seconds", "x-request-disconnect-disabled"} & set(app.seen)


def test_a_plain_text_error_becomes_a_problem_and_keeps_retry_after() -> None:
    app = LikeServe(PlainTextResponse("Request dropped due to backpressure", 503, {"retry-after": "1"}))
    response = ask(app, x_request_id="mine")
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    assert response.headers.get_list("x-request-id") == ["mine"]
    assert response.json()["type"] == "urn:dspex:problem:overloaded"
    assert response.json()["request_id"] == "mine"


def test_a_streamed_plain_text_error_is_replaced_once() -> None:
    async def pieces() -> Any:
        yield "Traceback: "
        yield "secret"

    response = ask(LikeServe(StreamingResponse(pieces(), 500, media_type="text/plain")))
    assert response.json()["status"] == 500
    assert "secret" not in response.text


@pytest.mark.parametrize("kind", ["application/problem+json", "application/json"])
def test_json_errors_pass_as_they_are(kind: str) -> None:
    response = ask(LikeServe(Response('{"a": 1}', 422, media_type=kind)))
    assert (response.status_code, response.text) == (422, '{"a": 1}')


def test_serves_health_path_is_left_alone() -> None:
    response = ask(LikeServe(PlainTextResponse("draining", 503)), path="/-/healthz")
    assert response.text == "draining"


def test_serve_gets_the_middleware_by_name() -> None:
    assert [entry.cls for entry in middlewares()] == [Edge]
