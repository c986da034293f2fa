"""What serving needs from a program, and the bounds of an endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from dspex_ray.calls.buffer import Row
from dspex_ray.calls.record import Meter


@dataclass(slots=True)
class Bill:
    """What one request spent; the service fills it while it works, so a failed request is billed too.

    `request_id`, `version` and `agent` (the endpoint, all its replicas) say what the calls were made for, for their
    records and budgets. The service has the calls admitted by `meter`, where there is one. `cost_usd` is None when a
    model was called whose price is not known.
    """

    request_id: str
    version: str
    agent: str | None = None
    meter: Meter | None = None
    rows: list[Row] = field(default_factory=list)
    cost_usd: float | None = 0.0


@runtime_checkable
class ProgramService(Protocol):
    """One program as the HTTP application sees it. Called on one event loop, many requests at a time."""

    @property
    def description(self) -> str:
        """The program's instruction, shown in the OpenAPI document."""
        ...

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the input. Called when the OpenAPI document is asked for."""
        ...

    def output_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the output. Called when the OpenAPI document is asked for."""
        ...

    async def answer(self, fields: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
        """Answer one input with a JSON-able output, noting every model call on `bill` as it happens.

        Called once for each request whose body is a JSON object; cancelled when the client goes away or the
        request's time is over. Raises InputError for a bad field, BudgetExceededError for a call that the bill's meter
        does not admit, OutputError or an LMError for a failing model; any other exception is answered with 500 and its
        text is only logged.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Called once, after the last request."""
        ...


@runtime_checkable
class StreamingService(ProgramService, Protocol):
    """A service that can also answer piece by piece."""

    def stream(
        self, fields: Mapping[str, Any], bill: Bill
    ) -> AsyncGenerator[tuple[Literal["piece", "output"], Mapping[str, Any]], None]:
        """Give the pieces as JSON, and last the output; all else as `answer`. Closed when the client goes away."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingLimits:
    """Bounds of one endpoint.

    `request_timeout_s` bounds one request inside a replica; `start_timeout_s` the wait for the first answer of a new
    deployment; `drain_timeout_s` how long a replaced replica may finish what it is working on. `max_ongoing_requests`
    is worked on at once by a replica, up to `max_queued_requests` more wait there, and above that the answer is 503.
    `target_ongoing_requests` a replica is what autoscaling aims at. A streamed answer carries a comment at least every
    `heartbeat_s`, so that nothing on the way takes it for dead.
    """

    max_body_bytes: int = 1024 * 1024
    request_timeout_s: float = 120.0
    max_ongoing_requests: int = 256
    target_ongoing_requests: float = 32.0
    max_queued_requests: int = 1024
    start_timeout_s: float = 60.0
    drain_timeout_s: float = 10.0
    heartbeat_s: float = 15.0
