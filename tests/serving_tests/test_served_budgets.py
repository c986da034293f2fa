"""Hard budgets and the journal of an endpoint: over real HTTP, with a real ledger agent and model server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from priced_programs import PRICE, REPLIES, Priced, priced

from dspex_agents import ChildSpec, SupervisorSpec, System, SystemSpec, start_local_system
from dspex_agents.clock import SystemClock
from dspex_ray.budgets.amounts import Amounts
from dspex_ray.budgets.budget import Budget
from dspex_ray.budgets.setting import budget_statuses, set_budget
from dspex_ray.calls.buffer import CallBuffer, Row
from dspex_ray.calls.journal import journal_folder
from dspex_ray.calls.ledger_agent import LEDGER, LedgerAgent, RecordCalls
from dspex_ray.calls.ledger_meter import LedgerMeter
from dspex_ray.errors import BudgetExceededError
from dspex_ray.lm.prices import Price
from dspex_ray.serving.application import build_application
from dspex_ray.serving.problem import MEDIA_TYPE, to_error
from dspex_ray.serving.program_service import ProgramServiceFor
from dspex_ray.store import Store, open_store
from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.database.close()


@pytest.fixture
def system(store: Store) -> Iterator[System]:
    """Run a ledger agent for the store, and stop it at the end unless a test has."""
    ledger = ChildSpec(id=LEDGER, start=LedgerAgent, kwargs={"store": open_store(store.database.url)})
    started = start_local_system(
        SystemSpec(name="ledger-only", supervisor=SupervisorSpec(id="supervisor", children=(ledger,)))
    )
    yield started
    started.stop()


class Sink:
    """Sends rows to the ledger agent."""

    def __init__(self, system: System) -> None:
        self._system = system

    async def write(self, rows: list[Row]) -> None:
        await self._system.aask(LEDGER, RecordCalls(tuple(rows)), timeout_s=10.0, retry_safe=True)


@asynccontextmanager
async def served(model: ModelServer, system: System, price: Price | None = PRICE) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the program over HTTP on this loop, as a replica does; gives a client of it."""
    ask = partial(system.aask, LEDGER, timeout_s=10.0)
    program = priced(model.base_url, price)
    app = build_application(
        ProgramServiceFor(program),
        name="shop",
        version="v7",
        ledger=CallBuffer(Sink(system)),
        metering=lambda: LedgerMeter(ask, SystemClock()),
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=2))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        await serving
        await program.lm.aclose()


def asked(
    model: ModelServer, system: System, *, times: int, path: str = "/", price: Price | None = PRICE
) -> list[httpx.Response]:
    """Return the answers to so many questions, one after another; the endpoint has ended on return."""

    async def all_of_them() -> list[httpx.Response]:
        async with served(model, system, price) as client:
            return [await client.post(path, json={"question": str(n)}) for n in range(times)]

    return asyncio.run(all_of_them())


def status_of(store: Store) -> Any:
    (status,) = budget_statuses(store)
    return status


@pytest.mark.parametrize(
    "budget",
    [
        Budget(scope="program", name=Priced().path, calls=2),
        Budget(scope="agent", name="shop", calls=2),
        Budget(scope="all", calls=2),
    ],
    ids=lambda budget: budget.scope,
)
def test_an_endpoint_answers_until_a_budget_is_used_up_and_then_402_and_the_ledger_equals_the_servers_counters(
    store: Store, system: System, budget: Budget
) -> None:
    set_budget(budget, store)
    with ModelServer(answer=REPLIES) as model:
        answers = asked(model, system, times=4)
        counted = model.counters()
    system.stop()
    assert [answer.status_code for answer in answers] == [200, 200, 402, 402]
    assert counted["requests"] == counted["answered"] == 2
    totals = store.totals()
    assert (totals.calls, totals.failed, totals.unknown) == (2, 0, 0)
    assert (totals.prompt_tokens, totals.completion_tokens) == (counted["prompt_tokens"], counted["completion_tokens"])
    assert {row["agent"] for row in store.single_calls()} == {"shop"}
    assert (status_of(store).spent.calls, status_of(store).out, status_of(store).holders) == (2, Amounts(), 0)
    assert not list(journal_folder(store.database.url).glob("*.jsonl"))


def test_the_402_names_the_budget_its_limit_what_is_spent_and_when_it_renews(store: Store, system: System) -> None:
    set_budget(Budget(scope="agent", name="shop", calls=1, tokens=10_000, period="day"), store)
    with ModelServer(answer=REPLIES) as model:
        refused = asked(model, system, times=2)[-1]
    body = refused.json()
    midnight = datetime.fromtimestamp(status_of(store).window + 86_400, UTC)
    assert refused.headers["content-type"] == MEDIA_TYPE
    assert refused.headers["x-dspex-cost-usd"] == "0"
    assert body["type"] == "urn:dspex:problem:budget-exceeded"
    assert (body["budget"], body["limit"]) == ("agent:shop", "1 call, 10,000 tokens a day")
    assert body["spent"].startswith("1 calls made, 0 out; ")
    assert datetime.fromisoformat(body["renews_at"]) == midnight
    assert body["detail"].endswith(f"It renews at {body['renews_at']}.")
    error = to_error(body, None)
    assert isinstance(error, BudgetExceededError)
    assert (error.budget, error.caps, error.spent) == ("agent:shop", body["limit"], body["spent"])
    assert error.renews_at == midnight.timestamp()


def test_a_stream_is_refused_with_402_before_its_first_event(store: Store, system: System) -> None:
    set_budget(Budget(scope="all", calls=1), store)
    with ModelServer(answer=REPLIES) as model:
        streamed, refused = asked(model, system, times=2, path="/stream")
        counted = model.counters()
    assert streamed.status_code == 200
    assert "event: output" in streamed.text
    assert (refused.status_code, refused.headers["content-type"]) == (402, MEDIA_TYPE)
    assert (refused.json()["budget"], refused.json()["renews_at"]) == ("all", None)
    assert counted["requests"] == 1


def test_requests_at_once_send_no_more_calls_than_the_cap_has_room_for(store: Store, system: System) -> None:
    set_budget(Budget(scope="program", name=Priced().path, usd=0.3), store)

    async def at_once(model: ModelServer) -> list[int]:
        async with served(model, system) as client:
            answers = await asyncio.gather(*(client.post("/", json={"question": str(n)}) for n in range(40)))
        return [answer.status_code for answer in answers]

    with ModelServer(answer=REPLIES, weather=Weather(latency=0.02)) as model:
        told = asyncio.run(at_once(model))
        counted = model.counters()
    spent = counted["prompt_tokens"] * PRICE.prompt_usd + counted["completion_tokens"] * PRICE.completion_usd
    assert set(told) == {200, 402}
    assert told.count(200) == counted["answered"] == counted["requests"]
    assert spent <= 0.3
    assert status_of(store).spent.usd == pytest.approx(spent)


def test_a_model_without_a_price_under_a_cap_in_dollars_is_402_and_says_why(store: Store, system: System) -> None:
    set_budget(Budget(scope="all", usd=1.0), store)
    with ModelServer(answer=REPLIES) as model:
        (refused,) = asked(model, system, times=1, price=None)
        assert model.counters()["requests"] == 0
    assert refused.status_code == 402
    assert "cannot be held, since the price of this endpoint's model is not known" in refused.json()["detail"]
    assert refused.json()["spent"] is None


def test_an_endpoint_whose_ledger_is_gone_sends_nothing_and_is_503(store: Store, system: System) -> None:
    system.stop()
    with ModelServer(answer=REPLIES) as model:
        (refused,) = asked(model, system, times=1)
        assert model.counters()["requests"] == 0
    assert refused.status_code == 503


def test_a_call_in_flight_is_in_the_journal_until_its_outcome_is(
    store: Store, system: System, wait: Callable[..., None]
) -> None:
    folder = journal_folder(store.database.url)

    async def while_it_hangs(model: ModelServer) -> list[Any]:
        async with served(model, system) as client:
            asking = asyncio.create_task(client.post("/", json={"question": "x"}))
            async with asyncio.timeout(10):
                while model.counters()["in_flight"] == 0:  # noqa: ASYNC110 - what is waited for happens on another thread
                    await asyncio.sleep(0.01)
            (file,) = folder.glob("*.jsonl")
            lines = [json.loads(line) for line in file.read_bytes().split(b"\n") if line]
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        return lines

    with ModelServer(answer=REPLIES, weather=Weather(script=["hang"])) as model:
        (line,) = asyncio.run(while_it_hangs(model))
    assert (line["status"], line["program"], line["agent"], line["version"]) == ("unknown", Priced().path, "shop", "v7")
    wait(lambda: store.totals().failed == 1, what="the record of the call given up")
    assert store.totals().unknown == 0
