"""The HTTP application of one endpoint: plain ASGI, no Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.ids import IdSource, RandomIds
from dspex_ray.calls.record import Meter
from dspex_ray.serving.base import ProgramService, ServingLimits
from dspex_ray.serving.contract import Gate, Router, Witness
from dspex_ray.serving.exchanges import Exchanges, Ledger
from dspex_ray.serving.program_endpoint import ProgramEndpoint
from dspex_ray.serving.shadows import Shadows
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.tracing import flush


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


class Follower(Protocol):
    """Keeps a part of the application up to date with what the cluster says, on the application's event loop."""

    async def start(self) -> None:
        """Begin, and wait for the first news, a few seconds at most. Called once, before the first request."""
        ...

    async def stop(self) -> None:
        """End. Called once, after the last request."""
        ...


def build_application(  # noqa: PLR0913 - all keyword-only, each a part that may be there or not
    service: ProgramService | Router,
    *,
    name: str,
    version: str,
    ledger: Ledger | None = None,
    metering: Callable[[], Metering] | None = None,
    gate: Gate | None = None,
    witness: Witness | None = None,
    followers: tuple[Follower, ...] = (),
    limits: ServingLimits | None = None,
    ids: IdSource | None = None,
    clock: Clock | None = None,
    echo_request_id: bool = True,
) -> Starlette:
    """Return the ASGI application of one program, answered by one service or by the versions of a router.

    `name` and the version that answers label every answer; `version` is that of a lone service. `POST /` takes the
    input and gives the output, `POST /stream` gives it piece by piece as server-sent events if the service is a
    StreamingService; `GET /healthz` and `GET /openapi.json` describe the endpoint. Model calls pass what `metering`,
    called on the application's event loop, returns; for its budgets `name` is their agent. Without a `gate` everybody
    is let in, without a `witness` nothing is noted. It may be mounted at any `root_path`. With `echo_request_id=False`
    the `x-request-id` header is left to the server in front (Ray Serve adds it to every response).
    """
    router = VersionsRouter(version, service) if isinstance(service, ProgramService) else service
    limits = limits or ServingLimits()
    exchanges = Exchanges(name, router, ledger=ledger, witness=witness, clock=clock or SystemClock())
    shadows = Shadows(exchanges, limits.request_timeout_s)
    endpoint = ProgramEndpoint(
        name, exchanges, shadows, gate=gate, limits=limits, ids=ids or RandomIds(), echo=echo_request_id
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if ledger is not None:
            await ledger.start()
        kept = None if metering is None else metering()
        if kept is not None:
            await kept.start()
            exchanges.meter = kept.meter
        for each in followers:
            await each.start()
        try:
            yield
        finally:
            for each in followers:
                await each.stop()
            await shadows.aclose()
            await router.aclose()
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
