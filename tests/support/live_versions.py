"""Services that tell which version they are, a router of them, and what a witness saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal

import httpx

from dspex_agents.ids import CountingIds
from dspex_ray.serving.application import build_application
from dspex_ray.serving.base import Bill, ProgramService
from dspex_ray.serving.contract import Outcome
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.traffic.plan import TrafficPlan


class Told:
    """Answers with its version; what is asked to `fail` there fails, what is asked to `wait` waits to be released."""

    description = "Tell the version."

    def __init__(self, version: str) -> None:
        self.version, self.closed, self.asked = version, False, 0
        self.waiting, self.released = asyncio.Event(), asyncio.Event()

    def input_schema(self) -> dict[str, Any]:
        return {"type": "object"}

    def output_schema(self) -> dict[str, Any]:
        return {"type": "object"}

    async def answer(self, fields: Mapping[str, Any], bill: Bill) -> dict[str, Any]:
        self.asked += 1
        told = {"request_id": bill.request_id, "version": bill.version, "prompt_tokens": 3, "completion_tokens": 4}
        bill.rows.append(told)
        bill.cost_usd = 0.001
        if fields.get("wait") == self.version:
            self.waiting.set()
            await self.released.wait()
        if fields.get("fail") == self.version:
            raise RuntimeError("told to fail")
        return {"version": self.version, "closed": self.closed}

    async def stream(
        self, fields: Mapping[str, Any], bill: Bill
    ) -> AsyncGenerator[tuple[Literal["piece", "output"], Mapping[str, Any]], None]:
        yield "output", await self.answer(fields, bill)

    async def aclose(self) -> None:
        self.closed = True


class Shelf:
    """Where a router finds versions: each number, but not those that are `broken`."""

    def __init__(self, *broken: str) -> None:
        self.broken, self.made = broken, list[Told]()

    async def __call__(self, version: str) -> ProgramService:
        await asyncio.sleep(0)
        if version in self.broken:
            raise ValueError("no such tokenizer file")
        self.made.append(Told(version))
        return self.made[-1]


class Witnessed(list[Outcome]):
    """A witness that keeps what it saw."""

    def saw(self, outcome: Outcome) -> None:
        self.append(outcome)


class Rows(list[dict[str, Any]]):
    """A ledger that keeps the rows it was given."""

    def put(self, rows: list[dict[str, Any]]) -> None:
        self.extend(rows)

    def status(self) -> Mapping[str, int]:
        return {}

    async def start(self) -> None: ...

    async def close(self) -> None: ...


async def router_of(plan: TrafficPlan, shelf: Shelf | None = None) -> VersionsRouter:
    """Return a router that carries version 3 and has this plan in force."""
    router = VersionsRouter("3", Told("3"), plan=TrafficPlan.all_to("3"), load=shelf or Shelf())
    await router.use(plan)
    return router


def client_of(router: VersionsRouter, **parts: Any) -> httpx.AsyncClient:
    """Return a client of an application of these versions, without a server between."""
    app = build_application(router, name="shop", version="3", ids=CountingIds(), **parts)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def until(condition: Any, timeout_s: float = 10.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is not ours to signal
            await asyncio.sleep(0.005)
