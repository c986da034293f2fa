"""What stands between a request and the program that answers it: who asks, which version answers, what came of it.

One request passes, in this order, through a replica:

| part      | asks                                   | answers                                                      |
|-----------|----------------------------------------|--------------------------------------------------------------|
| `Gate`    | may this caller do this now?           | an `Admission`, or the problem that is sent instead          |
| `Router`  | which version answers, which look on?  | a `Route`, the same for a user as long as the plan is        |
| a service | what is the output?                    | see `dspex_ray.serving.base`                                 |
| `Witness` | what came of it?                       | nothing: metrics, experiments, ramps and records take it in  |

All of them are called on one event loop and must not block it; what they know changes while requests are under way, by
what the cluster pushes to the replica.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from dspex_ray.serving.base import ProgramService
from dspex_ray.serving.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A request before its body is read. `path` is the one below the endpoint, header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. `tenant` owns what is kept of the request; `key_id` names the key or token, and holds no secret.

    `user` is whom versions stick to: the token's subject, or what a trusted header says.
    """

    tenant: str = "default"
    key_id: str | None = None
    roles: frozenset[str] = frozenset()
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one request. `latency_s` is until the last byte; `at` seconds since the epoch, when it began.

    `arm` is the name of the version's part in the plan; a `shadow` answered nobody. `cost_usd` is None where a price is
    not known. `error` is the problem's code, None for an answer.
    """

    request_id: str
    endpoint: str
    version: str
    arm: str
    caller: Caller
    status: int
    at: float
    latency_s: float
    cost_usd: float | None = 0.0
    tokens: int = 0
    error: str | None = None
    shadow: bool = False


class Admission(Protocol):
    """A request that was let in; holds its place in quotas until it is closed."""

    @property
    def caller(self) -> Caller:
        """Who asks."""
        ...

    def close(self, cost_usd: float | None) -> None:
        """Give back the place and count the money. Called once, whatever came of the request."""
        ...


class Gate(Protocol):
    """Authentication, roles and quotas of one endpoint."""

    async def admit(self, head: RequestHead) -> Admission | Problem:
        """Let a request in, or say why not: 401, 403, 404 for what is another tenant's, 402 or 429."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which version answers a request. `reason` is `weight`, `sticky`, `rule:<name>` or `fallback`."""

    version: str
    arm: str
    reason: str
    shadows: tuple[str, ...] = field(default=())


class Router(Protocol):
    """The versions that are live in a replica, and who gets which."""

    def route(self, head: RequestHead, caller: Caller, request_id: str) -> Route:
        """Return the route; a plan always has one."""
        ...

    def begin(self, version: str) -> ProgramService:
        """Return the service of a live version, kept so until `end`. Raises KeyError for one that is not live."""
        ...

    def end(self, version: str) -> None:
        """Let go what `begin` returned; called once for each."""
        ...

    @property
    def main(self) -> str:
        """The version with the greatest share; it describes the endpoint."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return the shares of the versions for the health answer; nothing where there is nothing to tell."""
        ...

    async def aclose(self) -> None:
        """Close all services. Called once, after the last request."""
        ...


class Witness(Protocol):
    """Takes in what came of requests."""

    def saw(self, outcome: Outcome) -> None:
        """Note it, without waiting."""
        ...
