"""A hard budget over two replicas of Ray Serve: real processes, real HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from priced_programs import REPLIES, Priced, priced

from dspex_ray.budgets.amounts import Amounts
from dspex_ray.budgets.budget import Budget
from dspex_ray.budgets.setting import budget_statuses, set_budget
from dspex_ray.calls.journal import journal_folder
from dspex_ray.serving.cluster_ledger import stop_ledger
from dspex_ray.serving.deployment import deploy, undeploy
from dspex_ray.serving.running import stop_serving
from dspex_ray.store import Store, open_store
from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.database.close()


@pytest.fixture
def endpoint(ray_cluster: str, store: Store) -> Iterator[Callable[[ModelServer], str]]:
    """Return a function that serves the program in two replicas; they have ended, and the ledger, at the end."""

    def start(model: ModelServer) -> str:
        return deploy(priced(model.base_url), name="shop", port=0, replicas=(2, 2), store=store).url

    yield start
    undeploy("shop", store)
    stop_ledger(store)
    stop_serving()


async def asked(url: str, times: int) -> list[httpx.Response]:
    """Return the answers to so many questions at once."""
    async with httpx.AsyncClient(timeout=60) as client:
        return await asyncio.gather(*(client.post(url, json={"question": str(n)}) for n in range(times)))


def until_both_answer(url: str, store: Store, wait: Callable[..., None]) -> None:
    """Ask until the ledger has calls of two replicas: the proxy gets to know the second one a little later."""

    def both() -> bool:
        asyncio.run(asked(url, 2))
        return len({row["holder"] for row in store.single_calls()}) == 2

    wait(both, what="an answer of each replica")


def test_a_cap_over_two_replicas_is_spent_to_the_last_call_and_not_passed(
    store: Store, endpoint: Callable[[ModelServer], str], wait: Callable[..., None]
) -> None:
    cap, asking = 300, 320
    set_budget(Budget(scope="agent", name="shop", calls=cap), store)
    with ModelServer(answer=REPLIES, weather=Weather(latency=0.1)) as model:
        url = endpoint(model)
        until_both_answer(url, store, wait)
        before = model.counters()["answered"]
        answers = asyncio.run(asked(url, asking))
        undeploy("shop", store)
        stop_ledger(store)
        counted = model.counters()
    told = Counter(answer.status_code for answer in answers)
    assert told == {200: cap - before, 402: asking - (cap - before)}
    assert {answer.json()["budget"] for answer in answers if answer.status_code == 402} == {"agent:shop"}
    assert counted["requests"] == counted["answered"] == cap
    totals = store.totals(program=Priced().path)
    assert (totals.calls, totals.failed, totals.unknown) == (cap, 0, 0)
    assert (totals.prompt_tokens, totals.completion_tokens) == (counted["prompt_tokens"], counted["completion_tokens"])
    assert {row["agent"] for row in store.single_calls()} == {"shop"}
    (status,) = budget_statuses(store)
    assert (status.spent.calls, status.out, status.holders) == (cap, Amounts(), 0)
    assert not list(journal_folder(store.database.url).glob("*.jsonl"))
