"""One trace from the caller over agents, other processes and HTTP to the model call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kept_spans import kept_spans

from dspex_ray import optimize
from dspex_ray.agent_system import start_agent_system
from dspex_ray.configuration import configure
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.serving.application import build_application
from dspex_ray.serving.program_service import ProgramServiceFor
from dspex_ray.store import Store, open_store
from dspex_ray.store.spans import SpanRecord, SpanStore
from dspex_ray.tracing import flush, span
from dspex_ray.tracing.lookup import find_trace

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALLED = ["invoke_agent shop", "invoke_agent task-1", "invoke_workflow ShopRoute", "chat nearest"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    kept = open_store(str(tmp_path / "s.db"))
    configure(tracing="store", content=False)
    yield kept
    configure(tracing=None)
    kept.database.close()


def chain(records: list[SpanRecord]) -> list[str]:
    """Return the names from the span without a parent down, each the only child of the one before."""
    below = {record.parent_id: record for record in records}
    assert len(below) == len(records)
    names, at = [], below[None]
    while True:
        names.append(at.name)
        if at.span_id not in below:
            return names
        at = below[at.span_id]


def recorded(store: Store) -> list[SpanRecord]:
    assert flush()
    kept = SpanStore(store.database)
    return kept.spans([one.trace_id for one in kept.latest(100)], 10_000)


def test_a_question_to_an_agent_system_is_one_trace_down_to_the_model(store: Store) -> None:
    with start_agent_system(ShopRoute(), runtime="in-process", name="shop", workers=1, store=store) as system:
        system.run(message="Where is my parcel?")
    assert chain(recorded(store)) == CALLED


def test_questions_at_once_are_traces_apart_unless_the_caller_has_one_around_them(store: Store) -> None:
    async def both(system: Any) -> None:
        await asyncio.gather(*(system.arun(message=text) for text in "ab"))
        with span("step", "around"):
            await asyncio.gather(*(system.arun(message=text) for text in "cd"))

    with start_agent_system(ShopRoute(), runtime="in-process", name="shop", store=store) as system:
        asyncio.run(both(system))
    records = recorded(store)
    roots = [record for record in records if record.parent_id is None]
    assert sorted(record.name for record in roots) == ["around", "invoke_agent shop", "invoke_agent shop"]
    around = next(record for record in roots if record.name == "around")
    assert len([record for record in records if record.trace_id == around.trace_id]) == 9


def test_a_search_is_one_trace_with_every_row_of_every_trial(store: Store) -> None:
    found = optimize(ShopRoute(), str(DATA), trials=3, runtime="in-process", store=store)
    assert flush()
    trace = find_trace(store, found.run_id)
    root = next(record for record in trace.spans if record.name == "optimize ShopRoute")
    of_run = [record for record in trace.spans if record.trace_id == root.trace_id]
    units = [record for record in of_run if record.name.startswith("invoke_agent task-")]
    assert {record.parent_id for record in units} == {root.span_id}
    assert {record.attributes["dspex.trial"] for record in units} == {0, 1, 2, 3}  # and the last look
    rows = [record for record in of_run if record.name == "invoke_workflow ShopRoute"]
    assert {record.parent_id for record in rows} <= {record.span_id for record in units}
    calls = [record for record in of_run if record.name.startswith("chat ")]
    assert len(calls) == len(rows) > 0
    assert store.totals(run_id=found.run_id).calls == len([r for r in trace.spans if r.name.startswith("chat ")])


def test_a_request_goes_on_with_the_trace_of_its_header() -> None:
    application = build_application(ProgramServiceFor(ShopRoute()), name="shop", version="1")

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(
                "/", json={"message": "Where is my parcel?"}, headers={"traceparent": HEADER, "x-request-id": "req-7"}
            )

    with kept_spans() as kept:
        assert asyncio.run(post()).status_code == 200
        request = kept.one("POST /shop")
        assert (request.trace_id, request.parent_id) == (HEADER[3:35], HEADER[36:52])
        assert request.attributes["http.response.status_code"] == 200
        assert request.attributes["dspex.request_id"] == "req-7"
        assert kept.tree() == [("POST /shop", [("invoke_workflow ShopRoute", [("chat nearest", [])])])]


@pytest.mark.ray
def test_a_question_is_one_trace_over_real_processes(ray_cluster: str, store: Store) -> None:
    system = start_agent_system(ShopRoute(), name="shop", workers=1, store=store, address=ray_cluster)
    with system, span("step", "driver"):
        system.run(message="Where is my parcel?")
    records = recorded(store)
    assert chain(records) == ["driver", *CALLED]
    assert len({record.trace_id for record in records}) == 1
    assert not any("gen_ai.input.messages" in record.attributes for record in records)


@pytest.mark.ray
def test_a_request_to_a_served_program_goes_on_with_the_trace_of_its_header(
    ray_cluster: str, store: Store, wait: Callable[..., None]
) -> None:
    endpoint = ShopRoute().deploy(name="traced", address=ray_cluster, store=store, port=0, replicas=(1, 1))
    try:
        headers = {"traceparent": HEADER, "x-request-id": "req-traced"}
        answer = httpx.post(endpoint.url, json={"message": "Where is my parcel?"}, headers=headers, timeout=30)
        assert answer.status_code == 200
        spans = SpanStore(store.database)
        wait(lambda: spans.count([HEADER[3:35]]) == 3)
        names = [record.name for record in spans.spans([HEADER[3:35]], 10)]
        assert names == ["POST /traced", "invoke_workflow ShopRoute", "chat nearest"]
        assert spans.traces_of("req-traced") == [HEADER[3:35]]
    finally:
        endpoint.stop()
