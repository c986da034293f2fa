"""`ProgramEndpoint`: the handlers of one endpoint's routes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dspex_agents.ids import IdSource
from dspex_ray.serving import problem
from dspex_ray.serving.base import ServingLimits, StreamingService
from dspex_ray.serving.contract import Admission, Gate, RequestHead
from dspex_ray.serving.event_stream import Event, EventStream
from dspex_ray.serving.exchanges import ANSWERED, CLIENT_LEFT, Exchange, Exchanges
from dspex_ray.serving.openapi import openapi_document
from dspex_ray.serving.problem import Problem
from dspex_ray.serving.request_body import read_fields
from dspex_ray.serving.request_id import HEADER as REQUEST_ID
from dspex_ray.serving.request_id import is_sane_request_id
from dspex_ray.serving.shadows import Shadows
from dspex_ray.tracing import span, within_trace

VERSION = "x-dspex-version"
ARM = "x-dspex-arm"
COST = "x-dspex-cost-usd"
TRACEPARENT = "traceparent"

_log = logging.getLogger(__name__)


class ProgramEndpoint:
    """Answers requests with the version that the router chooses, once the gate has let them in.

    Without a gate everybody is let in. With `echo` the answers carry the request's id.
    """

    def __init__(
        self,
        name: str,
        exchanges: Exchanges,
        shadows: Shadows,
        *,
        gate: Gate | None,
        limits: ServingLimits,
        ids: IdSource,
        echo: bool,
    ) -> None:
        self._name, self._exchanges, self._shadows, self._gate = name, exchanges, shadows, gate
        self._router, self._ledger = exchanges.router, exchanges.ledger
        self._limits, self._ids, self._echo = limits, ids, echo

    async def answer(self, request: Request) -> Response:
        """Answer one input; every failure becomes a problem document."""
        request_id = self._request_id(request)
        told = {"request_id": request_id, "http.request.method": "POST"}
        with within_trace(request.headers.get(TRACEPARENT)), span("request", f"POST /{self._name}", **told) as traced:
            head, admission = _head(request, "/"), None
            if self._gate is not None:
                admission = await self._admitted(self._gate, head, request_id)
            if isinstance(admission, Problem):
                response = self._problem(admission, request_id)
            else:
                response = await self._answered(request, self._exchanges.begin(head, request_id, admission))
            traced.set(**{"http.response.status_code": response.status_code})
        return response

    async def _answered(self, request: Request, exchange: Exchange) -> Response:
        end: tuple[int, str | None] = CLIENT_LEFT
        copies: BackgroundTask | None = None
        try:
            fields = await read_fields(request, self._limits.max_body_bytes)
            if isinstance(fields, Problem):
                end = fields.status, fields.code
                return self._problem(fields, exchange.request_id, exchange)
            if exchange.route.shadows:
                copies = BackgroundTask(self._shadowed, exchange, fields)
            async with asyncio.timeout(self._limits.request_timeout_s):
                output = await exchange.service.answer(fields, exchange.bill)
            body = _ENCODER.encode(output).encode()
            end = ANSWERED
        except Exception as error:  # noqa: BLE001 - the HTTP boundary: whatever a program raises is answered here
            found = self._problem_of(error, exchange.request_id)
            end = found.status, found.code
            return self._problem(found, exchange.request_id, exchange, copies)
        finally:
            self._exchanges.end(exchange, *end)
        headers = self._headers(exchange.request_id, exchange, exchange.bill.cost_usd)
        return Response(body, media_type="application/json", headers=headers, background=copies)

    async def _shadowed(self, exchange: Exchange, fields: Mapping[str, Any]) -> None:
        self._shadows.start(exchange, fields)

    async def stream(self, request: Request) -> Response:
        """Answer one input with events `piece`, and `output` or `error` at the end."""
        request_id = self._request_id(request)
        head, admission = _head(request, "/stream"), None
        if self._gate is not None:
            admission = await self._admitted(self._gate, head, request_id)
        if isinstance(admission, Problem):
            return self._problem(admission, request_id)
        exchange = self._exchanges.begin(head, request_id, admission)
        try:
            found = await self._fields_to_stream(request, exchange)
        except BaseException:
            self._exchanges.end(exchange, *CLIENT_LEFT)
            raise
        if isinstance(found, Problem):
            self._exchanges.end(exchange, found.status, found.code)
            return self._problem(found, request_id, exchange)
        service, fields = found
        trace = request.headers.get(TRACEPARENT)

        def ended(status: int, error: str | None) -> None:
            self._exchanges.end(exchange, status, error)
            if status != CLIENT_LEFT[0]:
                self._shadows.start(exchange, fields)

        return EventStream(
            self._events(service, fields, exchange, trace),
            request_id=request_id,
            headers=self._headers(request_id, exchange),
            problem_of=lambda error: self._problem_of(error, request_id),
            refused=lambda found: self._problem(found, request_id, exchange),
            ended=ended,
            limits=self._limits,
        )

    async def _fields_to_stream(
        self, request: Request, exchange: Exchange
    ) -> tuple[StreamingService, Mapping[str, Any]] | Problem:
        if not isinstance(exchange.service, StreamingService):
            return problem.of_status(404, "This endpoint does not stream.", {})
        try:
            fields = await read_fields(request, self._limits.max_body_bytes)
        except Exception as error:  # noqa: BLE001 - the HTTP boundary, as in `answer`
            return self._problem_of(error, exchange.request_id)
        return fields if isinstance(fields, Problem) else (exchange.service, fields)

    async def _events(
        self, service: StreamingService, fields: Mapping[str, Any], exchange: Exchange, trace: str | None
    ) -> AsyncGenerator[Event, None]:
        told = {"request_id": exchange.request_id, "http.request.method": "POST"}
        with within_trace(trace), span("request", f"POST /{self._name}/stream", **told):
            async with aclosing(service.stream(fields, exchange.bill)) as events:
                async for event in events:
                    yield event

    async def health(self, request: Request) -> Response:
        """Say that this endpoint answers: the version with the greatest share, all shares, the state of its ledger."""
        body: dict[str, Any] = {"status": "ok", "name": self._name, "version": self._router.main}
        if self._ledger is not None:
            body["ledger"] = dict(self._ledger.status())
        if traffic := self._router.status():
            body["traffic"] = {**traffic, "shadows_left_out": self._shadows.left_out}
        headers = self._headers(self._request_id(request))
        return Response(json.dumps(body), media_type="application/json", headers=headers)

    async def openapi(self, request: Request) -> Response:
        """Describe this endpoint by its main version, at the path it is mounted at."""
        main = self._router.main
        service = self._router.begin(main)
        try:
            document = openapi_document(service, self._name, main, request.scope.get("root_path", ""))
        finally:
            self._router.end(main)
        headers = self._headers(self._request_id(request))
        return Response(json.dumps(document), media_type="application/json", headers=headers)

    async def refused(self, request: Request, error: Exception) -> Response:
        """Answer what reached no route: an unknown path or a wrong method."""
        if not isinstance(error, HTTPException):
            raise error
        allow = dict(error.headers or {})
        detail = f"{request.method} {request.url.path.rstrip('/') or '/'}: {error.detail}."
        return self._problem(problem.of_status(error.status_code, detail, allow), self._request_id(request))

    async def _admitted(self, gate: Gate, head: RequestHead, request_id: str) -> Admission | Problem:
        try:
            return await gate.admit(head)
        except Exception as error:  # noqa: BLE001 - the HTTP boundary: who cannot be asked lets nobody in
            return self._problem_of(error, request_id)

    def _problem_of(self, error: Exception, request_id: str) -> Problem:
        found = problem.of_error(error)
        if found.status >= 500:  # noqa: PLR2004 - the server's own failures
            _log.warning("request %s failed with %d", request_id, found.status, exc_info=error)
        return found

    def _problem(
        self, found: Problem, request_id: str, exchange: Exchange | None = None, after: BackgroundTask | None = None
    ) -> Response:
        cost = None if exchange is None else exchange.bill.cost_usd
        headers = {**found.all_headers(), **self._headers(request_id, exchange, cost)}
        body = json.dumps(found.as_json(request_id)).encode()
        return Response(body, found.status, headers, media_type=problem.MEDIA_TYPE, background=after)

    def _request_id(self, request: Request) -> str:
        given = request.headers.get(REQUEST_ID)
        return given if given is not None and is_sane_request_id(given) else self._ids.new("req")

    def _headers(
        self, request_id: str, exchange: Exchange | None = None, cost_usd: float | None = None
    ) -> dict[str, str]:
        if exchange is None:
            headers = {VERSION: self._router.main}
        else:
            headers = {VERSION: exchange.route.version, ARM: exchange.route.arm}
        if self._echo:
            headers[REQUEST_ID] = request_id
        if cost_usd is not None:
            headers[COST] = _plain_decimal(cost_usd)
        return headers


def _head(request: Request, path: str) -> RequestHead:
    client = request.scope.get("client")
    return RequestHead(
        method=request.scope["method"], path=path, headers=request.headers, client=client[0] if client else None
    )


# Made once: `json.dumps` makes a new one for each call with options.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def _plain_decimal(value: float) -> str:
    """Return the amount without an exponent and without trailing zeros, to a billionth."""
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"
