"""Answers as server-sent events, over real HTTP from a real model server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiohttp
import httpx
import pytest
import uvicorn
from served_programs import Billing

from dspex_agents.ids import CountingIds
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema
from dspex_ray.serving.application import build_application
from dspex_ray.serving.base import ServingLimits
from dspex_ray.serving.program_service import ProgramServiceFor
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

REPLY = '{"why": "since it is so", "intent": "card"}'
OUTPUT = {"why": "since it is so", "intent": "card"}


class Route(Program):
    """Route the message."""

    class Input(Schema):
        message: str

    class Output(Schema):
        why: str
        intent: Literal["cash", "card"]


class Rows:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def put(self, rows: list[dict[str, Any]]) -> None:
        self.rows.extend(rows)

    def status(self) -> Mapping[str, int]:
        return {}

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to close."""


@asynccontextmanager
async def served(model: ModelServer, ledger: Rows, **limits: Any) -> AsyncIterator[str]:
    """Serve the program over HTTP on this loop; gives the address of its stream."""
    lm = OpenAICompatibleLM(
        "openai/simulated", wire_model="simulated", base_url=model.base_url, api_key=None, price=None, max_attempts=1
    )
    app = build_application(
        ProgramServiceFor(Route().with_lm(lm)),
        name="route",
        version="v7",
        ledger=ledger,
        limits=ServingLimits(**limits),
        ids=CountingIds(),
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/stream"
    finally:
        server.should_exit = True
        await serving
        await lm.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens on another thread
            await asyncio.sleep(0.01)


def events(text: str) -> list[tuple[str, Any]]:
    """Return the events of a whole stream, each a name and its data."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def asked(
    model: ModelServer, body: Any = None, ledger: Rows | None = None, **limits: Any
) -> tuple[int, Mapping[str, str], str]:
    """Return status, headers and text of the whole answer to one input."""

    async def once() -> tuple[int, Mapping[str, str], str]:
        sent = {"message": "x"} if body is None else body
        async with (
            served(model, ledger or Rows(), **limits) as url,
            aiohttp.ClientSession() as session,
            session.post(url, json=sent) as response,
        ):
            return response.status, response.headers, await response.text()

    return asyncio.run(once())


def test_pieces_come_before_the_output_and_add_up_to_the_reply() -> None:
    ledger = Rows()
    with ModelServer(answer=[REPLY]) as model:
        status, headers, text = asked(model, ledger=ledger)
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert (headers["x-request-id"], headers["x-dspex-version"]) == ("req-1", "v7")
    *pieces, last = events(text)
    assert last == ("output", OUTPUT)
    assert {name for name, _ in pieces} == {"piece"}
    assert "".join(piece["delta"] for _, piece in pieces) == REPLY
    assert {"why": "since"} in [piece["partial"] for _, piece in pieces]
    assert (pieces[-1][1]["place"], pieces[-1][1]["complete"]) == ("", ["why", "intent"])
    assert [(row["request_id"], row["status"]) for row in ledger.rows] == [("req-1", "ok")]


def test_a_bad_input_is_answered_with_its_own_status() -> None:
    with ModelServer(answer=[REPLY]) as model:
        status, headers, text = asked(model, {"massage": "x"})
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert json.loads(text)["type"] == "urn:dspex:problem:invalid-input"


def test_a_body_that_is_no_object_is_refused() -> None:
    with ModelServer(answer=[REPLY]) as model:
        assert asked(model, [1])[0] == 422


def test_a_model_that_fails_at_once_is_answered_with_its_own_status() -> None:
    with ModelServer(weather=Weather(script=["500"])) as model:
        status, _, text = asked(model)
    assert (status, json.loads(text)["type"]) == (502, "urn:dspex:problem:model-server-error")


def test_a_stream_that_is_cut_ends_with_a_problem_as_an_event() -> None:
    ledger = Rows()
    with ModelServer(answer=[REPLY], weather=Weather(script=["cut"])) as model:
        status, _, text = asked(model, ledger=ledger)
    assert status == 200
    *pieces, (name, found) = events(text)
    assert [piece["delta"] for _, piece in pieces] == ['{"why":']
    assert (name, found["type"], found["request_id"]) == ("error", "urn:dspex:problem:model-unreachable", "req-1")
    assert [row["status"] for row in ledger.rows] == ["error"]


def test_a_stream_that_takes_too_long_ends_with_a_timeout_as_an_event() -> None:
    weather = Weather(script=["slow"], faults=Faults(slow_s=3600))
    with ModelServer(answer=[REPLY], weather=weather) as model:
        _, _, text = asked(model, request_timeout_s=0.3)
    assert events(text)[-1][1]["type"] == "urn:dspex:problem:timeout"


def test_a_silent_stream_carries_heartbeats() -> None:
    weather = Weather(latency=0.3)
    with ModelServer(answer=[REPLY], weather=weather) as model:
        _, _, text = asked(model, heartbeat_s=0.05)
    assert text.startswith(": still here\n\n")
    assert events(text)[-1] == ("output", OUTPUT)


@pytest.mark.parametrize("fault", ["slow", "hang"])
def test_a_client_that_leaves_ends_the_model_call(fault: str) -> None:
    ledger = Rows()

    async def leave(model: ModelServer) -> None:
        async with served(model, ledger, heartbeat_s=0.1) as url:
            async with aiohttp.ClientSession() as session:
                response = await session.post(url, json={"message": "x"})
                assert await response.content.readany()
                assert model.counters()["in_flight"] == 1
                response.close()
            await until(lambda: model.counters()["in_flight"] == 0)
            assert model.counters()["abandoned"] == 1
            await until(lambda: bool(ledger.rows))

    weather = Weather(script=[fault], faults=Faults(slow_s=3600))
    with ModelServer(answer=[REPLY], weather=weather) as model:
        asyncio.run(leave(model))
    assert [row["status"] for row in ledger.rows] == ["error"]


def test_a_service_that_cannot_stream_says_so() -> None:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(build_application(Billing(), name="bills", version="v1"))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/stream", json={})

    response = asyncio.run(once())
    assert (response.status_code, response.json()["detail"]) == (404, "This endpoint does not stream.")


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with ModelServer(answer=[REPLY]) as model:
        asked(model)
    assert threading.active_count() <= before
