"""The HTTP application of one program, asked over ASGI without a server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from dspex_agents.ids import CountingIds
from dspex_ray import errors
from dspex_ray.serving.application import build_application
from dspex_ray.serving.base import Bill, ServingLimits

JSON = {"content-type": "application/json"}


class Scripted:
    """A service whose answer the request chooses."""

    description = "Answer as told.\n\nMore words."

    def __init__(self, failure: BaseException | None = None, output: Any = None) -> None:
        self.failure, self.output, self.closed = failure, output, False
        self.waiting = asyncio.Event()

    def input_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"message": {"type": "string"}}}

    def output_schema(self) -> dict[str, Any]:
        return {"type": "object"}

    async def answer(self, fields: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
        bill.rows.append({"request_id": bill.request_id, "version": bill.version})
        bill.cost_usd = 0.0000125
        if "hang" in fields:
            self.waiting.set()
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return {"heard": dict(fields)} if self.output is None else self.output

    async def aclose(self) -> None:
        self.closed = True


class ListLedger:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.state = "new"

    def put(self, rows: list[dict[str, Any]]) -> None:
        self.rows.extend(rows)

    def status(self) -> Mapping[str, int]:
        return {"waiting": len(self.rows)}

    async def start(self) -> None:
        self.state = "started"

    async def close(self) -> None:
        self.state = "closed"


def ask(
    service: Any = None,
    *,
    method: str = "POST",
    path: str = "/route",
    root: str = "/route",
    content: Any = b"{}",
    headers: Mapping[str, str] = JSON,
    **options: Any,
) -> httpx.Response:
    """Send one request to a fresh application mounted at `root`."""
    app = build_application(service or Scripted(), name="route", version="v7", ids=CountingIds(), **options)

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=root)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, content=content, headers=dict(headers))

    return asyncio.run(once())


def test_an_input_is_answered_with_the_output_and_the_three_headers() -> None:
    response = ask(content=b'{"message": "hi"}')
    assert response.status_code == 200
    assert response.json() == {"heard": {"message": "hi"}}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == "req-1"
    assert response.headers["x-dspex-version"] == "v7"
    assert response.headers["x-dspex-cost-usd"] == "0.0000125"


@pytest.mark.parametrize("path", ["/route", "/route/"])
def test_the_endpoint_answers_with_and_without_a_slash(path: str) -> None:
    assert ask(path=path).status_code == 200


def test_an_application_that_is_not_mounted_answers_at_the_root() -> None:
    assert ask(path="/", root="").status_code == 200


def test_text_beyond_ascii_arrives_and_returns_whole() -> None:
    message = "žluťoučký 馬 \N{PILE OF POO}"
    assert ask(content=json.dumps({"m": message}).encode()).json() == {"heard": {"m": message}}


def test_a_lone_surrogate_returns_as_the_same_escape() -> None:
    response = ask(content=b'{"m": "\\ud800"}')
    assert response.status_code == 200
    assert b"\\ud800" in response.content


@pytest.mark.parametrize("value", ["a", "mine-42", "x" * 128, "!~"])
def test_a_sane_request_id_of_the_client_is_taken_over(value: str) -> None:
    assert ask(headers={**JSON, "x-request-id": value}).headers["x-request-id"] == value


@pytest.mark.parametrize("value", ["", "x" * 129, "two words", "tab\there"])
def test_any_other_request_id_is_replaced(value: str) -> None:
    assert ask(headers={**JSON, "x-request-id": value}).headers["x-request-id"] == "req-1"


def test_the_request_id_header_is_left_out_when_the_server_in_front_adds_it() -> None:
    assert "x-request-id" not in ask(echo_request_id=False).headers


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/ld+json", "APPLICATION/JSON"]
)
def test_every_json_content_type_is_read(kind: str) -> None:
    assert ask(headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}]
)
def test_a_body_that_does_not_claim_to_be_json_is_refused_with_415(headers: dict[str, str]) -> None:
    body = problem(ask(headers=headers), 415, "unsupported-media-type")
    assert "application/json" in body["detail"]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "Expecting value"),
        (b'{"a": ', "Expecting value"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b'{"a": -Infinity}', "-Infinity is no JSON value"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "Exceeds the limit"),
    ],
)
def test_a_body_that_is_not_json_is_refused_with_400(content: bytes, hint: str) -> None:
    assert hint in problem(ask(content=content), 400, "malformed-json")["detail"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"[]", "an array"), (b"3", "a number"), (b'"a"', "a string"), (b"null", "null"), (b"true", "true or false")],
)
def test_json_that_is_no_object_breaks_the_schema(content: bytes, kind: str) -> None:
    body = problem(ask(content=content), 422, "invalid-input")
    assert body["errors"] == [{"path": "", "message": f"must be a JSON object, not {kind}"}]


def test_every_bad_field_is_listed_with_its_path() -> None:
    bad = (("message", "required, but missing"), ("order.lines[2].price", "must be positive"))
    body = problem(ask(Scripted(errors.InputError("two faults", bad))), 422, "invalid-input")
    assert [(e["path"], e["message"]) for e in body["errors"]] == list(bad)
    assert body["detail"] == "message: required, but missing; order.lines[2].price: must be positive"


def test_an_input_error_without_paths_still_says_what_is_wrong() -> None:
    assert problem(ask(Scripted(errors.InputError("odd"))), 422, "invalid-input")["errors"] == [
        {"path": "", "message": "odd"}
    ]


@pytest.mark.parametrize("size", [1024, 1025])
def test_the_body_limit_is_exact(size: int) -> None:
    content = b'{"m": "' + b"x" * (size - 9) + b'"}'
    assert len(content) == size
    response = ask(content=content, limits=ServingLimits(max_body_bytes=1024))
    assert response.status_code == (200 if size == 1024 else 413)


def test_a_body_without_a_declared_length_is_bounded_while_it_is_read() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 100

    body = problem(ask(content=endless(), limits=ServingLimits(max_body_bytes=1000)), 413, "body-too-large")
    assert "1000 bytes" in body["detail"]
    assert sent < 1000


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (errors.OutputError("bad", raw="secret reply"), 502, "invalid-output"),
        (errors.BudgetExceededError("secret", "all", "5 calls", "5 calls made"), 402, "budget-exceeded"),
        (errors.LMRateLimitError("secret", retry_after_s=2.1), 429, "model-rate-limit"),
        (errors.LMTimeoutError("secret"), 504, "model-timeout"),
        (errors.LMConnectionError("secret"), 503, "model-unreachable"),
        (errors.LedgerGoneError("secret"), 503, "ledger-unreachable"),
        (errors.LMServerError("secret"), 502, "model-server-error"),
        (errors.LMAuthError("secret"), 502, "model-auth"),
        (errors.LMContextWindowError("secret"), 422, "input-too-long"),
        (errors.LMBadReplyError("secret"), 502, "model-bad-reply"),
        (errors.LMError("secret"), 502, "model-failed"),
        (TimeoutError("secret"), 504, "timeout"),
        (ZeroDivisionError("secret"), 500, "internal"),
        (errors.ConfigurationError("secret"), 500, "internal"),
    ],
)
def test_each_error_has_its_status_and_tells_nothing_else(failure: Exception, status: int, code: str) -> None:
    response = ask(Scripted(failure))
    problem(response, status, code)
    assert "secret" not in response.text
    assert response.headers["x-dspex-cost-usd"] == "0.0000125"


def test_a_rate_limit_says_when_to_come_back_in_whole_seconds() -> None:
    assert ask(Scripted(errors.LMRateLimitError("m", retry_after_s=2.1))).headers["retry-after"] == "3"
    assert ask(Scripted(errors.LMRateLimitError("m"))).headers["retry-after"] == "1"


def test_the_cause_of_an_internal_error_is_logged_under_the_request_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ask(Scripted(ZeroDivisionError("the cause")), headers={**JSON, "x-request-id": "abc"})
    assert "abc" in caplog.text
    assert "the cause" in caplog.text


def test_a_request_that_takes_too_long_is_ended() -> None:
    response = ask(content=b'{"hang": 1}', limits=ServingLimits(request_timeout_s=0.05))
    problem(response, 504, "timeout")


@pytest.mark.parametrize("output", [{"x": float("nan")}, {"x": object()}])
def test_an_output_that_is_not_json_is_an_internal_error(output: Any) -> None:
    problem(ask(Scripted(output=output)), 500, "internal")


def test_an_unknown_price_leaves_the_cost_header_out() -> None:
    class Unpriced(Scripted):
        async def answer(self, fields: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
            bill.cost_usd = None
            return {}

    assert "x-dspex-cost-usd" not in ask(Unpriced()).headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused_with_the_allowed_one(method: str) -> None:
    response = ask(method=method)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.headers["x-request-id"] == "req-1"


@pytest.mark.parametrize("path", ["/route/nope", "/route//", "/route/healthz/"])
def test_an_unknown_path_is_not_found(path: str) -> None:
    problem(ask(method="GET", path=path), 404, "not-found")


def test_health_names_the_version_and_the_ledger() -> None:
    response = ask(method="GET", path="/route/healthz", ledger=ListLedger())
    assert response.json() == {"status": "ok", "name": "route", "version": "v7", "ledger": {"waiting": 0}}
    assert response.headers["x-dspex-version"] == "v7"


@pytest.mark.parametrize("content", [b'{"message": "hi"}', b'{"hang": 1}'])
def test_the_rows_of_answered_and_failed_requests_reach_the_ledger(content: bytes) -> None:
    ledger = ListLedger()
    ask(content=content, ledger=ledger, limits=ServingLimits(request_timeout_s=0.05))
    assert ledger.rows == [{"request_id": "req-1", "version": "v7"}]


def test_a_refused_request_reaches_neither_program_nor_ledger() -> None:
    ledger = ListLedger()
    ask(content=b"[", ledger=ledger)
    assert ledger.rows == []


def test_the_rows_of_a_cancelled_request_reach_the_ledger() -> None:
    ledger, service = ListLedger(), Scripted()
    app = build_application(service, name="r", version="v", ids=CountingIds(), ledger=ledger)

    async def cancelled() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            task = asyncio.create_task(client.post("/", content=b'{"hang": 1}', headers=JSON))
            async with asyncio.timeout(5):
                await service.waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert ledger.rows == [{"request_id": "req-1", "version": "v"}]


def test_the_lifespan_starts_the_ledger_and_closes_program_and_ledger() -> None:
    ledger, service = ListLedger(), Scripted()
    app = build_application(service, name="r", version="v", ledger=ledger)

    async def live() -> str:
        async with app.router.lifespan_context(app):
            return ledger.state

    assert asyncio.run(live()) == "started"
    assert ledger.state == "closed"
    assert service.closed


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that the response is the problem it should be, and return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:dspex:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert response.headers["x-dspex-version"] == "v7"
    return body
