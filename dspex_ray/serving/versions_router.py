"""`VersionsRouter`: the versions that are live in a replica, and the plan that says who gets which."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dspex_ray.errors import ProgramError
from dspex_ray.serving.base import ProgramService
from dspex_ray.serving.contract import Caller, RequestHead, Route
from dspex_ray.traffic.dealing import Dealer
from dspex_ray.traffic.plan import TrafficPlan

LoadService = Callable[[str], Awaitable[ProgramService]]
"""Makes the service of a version, without holding up the event loop; may raise anything."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Live:
    """A service, and how many requests use it. One that no plan names any more is closed with the last of them."""

    service: ProgramService
    requests: int = 0
    leaving: bool = False


class VersionsRouter:
    """Shares requests among live services by a plan, which is swapped as a whole; used on one event loop.

    A request that has begun keeps its version. A service is made when a plan first names its version, and closed once
    no plan names it and no request uses it; the one of `carried` stays, since it was not made from the store.
    """

    def __init__(
        self, carried: str, service: ProgramService, *, plan: TrafficPlan | None = None, load: LoadService | None = None
    ) -> None:
        """Begin with `plan`, by default everything to `carried`; it may name no version but that one."""
        self._carried, self._load = carried, load
        self._live = {carried: _Live(service)}
        self._closing: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._plan: TrafficPlan | None = plan
        self._main, self._given = carried, _given(plan, carried)
        self._revision, self._wrong = 0, ""

    @property
    def main(self) -> str:
        """The version with the greatest share."""
        return self._main

    @property
    def versions(self) -> tuple[str, ...]:
        """All live versions, in the order they became so."""
        return tuple(self._live)

    def route(self, head: RequestHead, caller: Caller, request_id: str) -> Route:
        """Return the route of a request under the present plan."""
        given = self._given
        return given if isinstance(given, Route) else given.deal(head.headers, caller.user, request_id)

    def begin(self, version: str) -> ProgramService:
        """Return the service of a live version and keep it until `end`. Raises KeyError for one that is not live."""
        live = self._live[version]
        live.requests += 1
        return live.service

    def end(self, version: str) -> None:
        """Let go what `begin` returned."""
        live = self._live[version]
        live.requests -= 1
        if live.leaving and not live.requests:
            self._close(version)

    async def use(self, plan: TrafficPlan, revision: int = 0) -> None:
        """Put a plan in force, once all its versions are live. Raises ProgramError, and the old one stays in force."""
        async with self._changing:
            self._wrong = ""
            made: dict[str, ProgramService] = {}
            try:
                while lacking := [one for one in plan.versions if one not in self._live and one not in made]:
                    made[lacking[0]] = await self._loaded(lacking[0])  # meanwhile a version may leave: look again
            except BaseException as error:
                self._wrong = f"revision {revision}: {error}"
                for service in made.values():
                    await _closed(service)
                raise
            self._live |= {version: _Live(service) for version, service in made.items()}
            self._plan, self._given, self._revision = plan, _given(plan, self._carried), revision
            self._main = max(plan.arms, key=lambda arm: arm.weight).version
            self._retire({*plan.versions, self._carried})

    def status(self) -> Mapping[str, Any]:
        """Return what the health answer tells of the plan in force, and `wrong`: why a newer one is not.

        Nothing where there never was a plan.
        """
        if self._plan is None:
            return {}
        shares: dict[str, float] = {}
        for arm in self._plan.arms:
            shares[arm.version] = shares.get(arm.version, 0.0) + arm.weight
        told: dict[str, Any] = {"revision": self._revision, "shares": shares}
        told["shadows"] = {one.version: one.share for one in self._plan.shadows}
        return {**told, "wrong": self._wrong} if self._wrong else told

    async def aclose(self) -> None:
        """Close all services. Called once, after the last request."""
        await asyncio.gather(*self._closing)
        for live in self._live.values():
            await _closed(live.service)

    async def _loaded(self, version: str) -> ProgramService:
        if self._load is None:
            raise ProgramError(f"Version {version!r} cannot be loaded: there is {self._carried!r} only here.")
        try:
            return await self._load(version)
        except Exception as error:  # the program's code runs when it is restored, and may raise anything
            raise ProgramError(f"Version {version!r} cannot be loaded: {error}") from error

    def _retire(self, named: set[str]) -> None:
        for version, live in list(self._live.items()):
            live.leaving = version not in named
            if live.leaving and not live.requests:
                self._close(version)

    def _close(self, version: str) -> None:
        task = asyncio.create_task(_closed(self._live.pop(version).service), name=f"close {version}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _given(plan: TrafficPlan | None, carried: str) -> Route | Dealer:
    """Return the route of every request, if they all have the same: nothing is to be drawn then."""
    if plan is None:
        return Route(version=carried, arm=carried, reason="weight")
    weighing = [arm for arm in plan.arms if arm.weight > 0]
    if len(weighing) > 1 or plan.rules or plan.shadows:
        return Dealer(plan)
    return Route(version=weighing[0].version, arm=weighing[0].name, reason="weight")


async def _closed(service: ProgramService) -> None:
    try:
        await service.aclose()
    except Exception as error:  # noqa: BLE001 - a model's client may raise anything, and what it answered is sent
        _log.warning("a version that answers no more did not close in order", exc_info=error)
