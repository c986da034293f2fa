"""The HTTP application of one program: plain ASGI, no Ray."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dspex_agents.ids import IdSource, RandomIds
from dspex_ray.calls.buffer import Row
from dspex_ray.calls.record import Meter
from dspex_ray.serving import problem
from dspex_ray.serving.base import Bill, ProgramService, ServingLimits, StreamingService
from dspex_ray.serving.event_stream import Event, EventStream
from dspex_ray.serving.openapi import openapi_document
from dspex_ray.serving.problem import Problem
from dspex_ray.serving.request_body import read_fields
from dspex_ray.serving.request_id import HEADER as REQUEST_ID
from dspex_ray.serving.request_id import is_sane_request_id
from dspex_ray.tracing import flush, span, within_trace

VERSION = "x-dspex-version"
COST = "x-dspex-cost-usd"
TRACEPARENT = "traceparent"

_log = logging.getLogger(__name__)


class Ledger(Protocol):
    """Takes the rows of finished requests without waiting; started and closed with the application."""

    def put(self, rows: list[Row]) -> None:
        """Note the rows of one request, answered or failed."""
        ...

    def status(self) -> Mapping[str, int]:
        """Return counts for the health answer."""
        ...

    async def start(self) -> None:
        """Begin to write. Called once, before the first request."""
        ...

    async def close(self) -> None:
        """Write what is left. Called once, after the last request."""
        ...


class Metering(Protocol):
    """Holds budgets, and keeps the journal of calls; started and stopped with the application."""

    @property
    def meter(self) -> Meter:
        """What admits each model call."""
        ...

    async def start(self) -> None:
        """Begin. Called once, before the first request."""
        ...

    async def stop(self) -> None:
        """Give back what was lent. Called once, when the ledger has the last call."""
        ...


def build_application(
    service: ProgramService,
    *,
    name: str,
    version: str,
    ledger: Ledger | None = None,
    metering: Callable[[], Metering] | None = None,
    limits: ServingLimits | None = None,
    ids: IdSource | None = None,
    echo_request_id: bool = True,
) -> Starlette:
    """Return the ASGI application of one program.

    `name` and `version` label every answer. `POST /` takes the input and gives the output, `POST
    /stream` gives it piece by piece as server-sent events if the service is a StreamingService; `GET /healthz` and
    `GET /openapi.json` describe the endpoint. Model calls pass what `metering`, called on the application's event loop,
    returns; for its budgets `name` is their agent. It may be mounted at any `root_path`. With `echo_request_id=False`
    the `x-request-id` header is left to the server in front (Ray Serve adds it to every response).
    """
    endpoint = _ProgramEndpoint(
        service,
        name=name,
        version=version,
        ledger=ledger,
        limits=limits or ServingLimits(),
        ids=ids or RandomIds(),
        echo=echo_request_id,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if ledger is not None:
            await ledger.start()
        kept = None if metering is None else metering()
        if kept is not None:
            await kept.start()
            endpoint.meter = kept.meter
        try:
            yield
        finally:
            await service.aclose()
            if ledger is not None:
                await ledger.close()
            if kept is not None:
                await kept.stop()
            await asyncio.to_thread(flush)

    application = _RootPathStarlette(
        routes=[
            Route("/", endpoint.answer, methods=["POST"]),
            Route("/stream", endpoint.stream, methods=["POST"]),
            Route("/healthz", endpoint.health, methods=["GET"]),
            Route("/openapi.json", endpoint.openapi, methods=["GET"]),
        ],
        exception_handlers={HTTPException: endpoint.refused},
        lifespan=lifespan,
    )
    application.router.redirect_slashes = False
    return application


class _RootPathStarlette(Starlette):
    """Starlette that also answers the bare mount point: `/route`, where its router expects `/route/`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("root_path") and scope["path"] == scope["root_path"]:
            scope = {**scope, "path": scope["path"] + "/"}
        await super().__call__(scope, receive, send)


class _ProgramEndpoint:
    """The handlers of one program's routes."""

    def __init__(
        self,
        service: ProgramService,
        *,
        name: str,
        version: str,
        ledger: Ledger | None,
        limits: ServingLimits,
        ids: IdSource,
        echo: bool,
    ) -> None:
        self._service, self._name, self._version = service, name, version
        self._ledger, self._limits, self._ids, self._echo = ledger, limits, ids, echo
        self.meter: Meter | None = None

    async def answer(self, request: Request) -> Response:
        """Answer one input; every failure becomes a problem document."""
        request_id = self._request_id(request)
        told = {"request_id": request_id, "http.request.method": "POST"}
        with within_trace(request.headers.get(TRACEPARENT)), span("request", f"POST /{self._name}", **told) as traced:
            response = await self._answered(request, request_id)
            traced.set(**{"http.response.status_code": response.status_code})
        return response

    async def _answered(self, request: Request, request_id: str) -> Response:
        bill = Bill(request_id, self._version, self._name, self.meter)
        try:
            fields = await read_fields(request, self._limits.max_body_bytes)
            if isinstance(fields, Problem):
                return self._problem(fields, request_id, bill)
            async with asyncio.timeout(self._limits.request_timeout_s):
                output = await self._service.answer(fields, bill)
            body = _ENCODER.encode(output).encode()
        except Exception as error:  # noqa: BLE001 - the HTTP boundary: whatever a program raises is answered here
            return self._failure(error, request_id, bill)
        finally:
            if self._ledger is not None and bill.rows:
                self._ledger.put(bill.rows)
        return Response(body, media_type="application/json", headers=self._headers(request_id, bill))

    async def stream(self, request: Request) -> Response:
        """Answer one input with events `piece`, and `output` or `error` at the end."""
        request_id = self._request_id(request)
        if not isinstance(self._service, StreamingService):
            return self._problem(problem.of_status(404, "This endpoint does not stream.", {}), request_id, None)
        try:
            fields = await read_fields(request, self._limits.max_body_bytes)
        except Exception as error:  # noqa: BLE001 - the HTTP boundary, as in `answer`
            return self._problem(self._problem_of(error, request_id), request_id, None)
        if isinstance(fields, Problem):
            return self._problem(fields, request_id, None)
        return EventStream(
            self._events(self._service, fields, request_id, request.headers.get(TRACEPARENT)),
            request_id=request_id,
            headers=self._headers(request_id, None),
            problem_of=lambda error: self._problem_of(error, request_id),
            refused=lambda found: self._problem(found, request_id, None),
            timeout_s=self._limits.request_timeout_s,
            heartbeat_s=self._limits.heartbeat_s,
        )

    async def _events(
        self, service: StreamingService, fields: Mapping[str, Any], request_id: str, trace: str | None
    ) -> AsyncGenerator[Event, None]:
        bill = Bill(request_id, self._version, self._name, self.meter)
        told = {"request_id": request_id, "http.request.method": "POST"}
        try:
            with within_trace(trace), span("request", f"POST /{self._name}/stream", **told):
                async with aclosing(service.stream(fields, bill)) as events:
                    async for event in events:
                        yield event
        finally:
            if self._ledger is not None and bill.rows:
                self._ledger.put(bill.rows)

    async def health(self, request: Request) -> Response:
        """Say that this endpoint answers, with its version and the state of its ledger."""
        body: dict[str, Any] = {"status": "ok", "name": self._name, "version": self._version}
        if self._ledger is not None:
            body["ledger"] = dict(self._ledger.status())
        headers = self._headers(self._request_id(request), None)
        return Response(json.dumps(body), media_type="application/json", headers=headers)

    async def openapi(self, request: Request) -> Response:
        """Describe this endpoint, at the path it is mounted at."""
        document = openapi_document(self._service, self._name, self._version, request.scope.get("root_path", ""))
        headers = self._headers(self._request_id(request), None)
        return Response(json.dumps(document), media_type="application/json", headers=headers)

    async def refused(self, request: Request, error: Exception) -> Response:
        """Answer what reached no route: an unknown path or a wrong method."""
        if not isinstance(error, HTTPException):
            raise error
        allow = dict(error.headers or {})
        detail = f"{request.method} {request.url.path.rstrip('/') or '/'}: {error.detail}."
        return self._problem(problem.of_status(error.status_code, detail, allow), self._request_id(request), None)

    def _failure(self, error: Exception, request_id: str, bill: Bill) -> Response:
        return self._problem(self._problem_of(error, request_id), request_id, bill)

    def _problem_of(self, error: Exception, request_id: str) -> Problem:
        found = problem.of_error(error)
        if found.status >= 500:  # noqa: PLR2004 - the server's own failures
            _log.warning("request %s failed with %d", request_id, found.status, exc_info=error)
        return found

    def _problem(self, found: Problem, request_id: str, bill: Bill | None) -> Response:
        headers = {**found.all_headers(), **self._headers(request_id, bill)}
        body = json.dumps(found.as_json(request_id)).encode()
        return Response(body, found.status, headers, media_type=problem.MEDIA_TYPE)

    def _request_id(self, request: Request) -> str:
        given = request.headers.get(REQUEST_ID)
        return given if given is not None and is_sane_request_id(given) else self._ids.new("req")

    def _headers(self, request_id: str, bill: Bill | None) -> dict[str, str]:
        headers = {VERSION: self._version}
        if self._echo:
            headers[REQUEST_ID] = request_id
        if bill is not None and bill.cost_usd is not None:
            headers[COST] = _plain_decimal(bill.cost_usd)
        return headers


# Made once: `json.dumps` makes a new one for each call with options.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def _plain_decimal(value: float) -> str:
    """Return the amount without an exponent and without trailing zeros, to a billionth."""
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"
