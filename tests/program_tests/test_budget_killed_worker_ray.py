"""A worker of an agent system on Ray killed under a hard budget: the cap holds, nothing is forgotten, it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from priced_programs import REPLIES, priced

from dspex_ray.budgets.amounts import Amounts
from dspex_ray.budgets.budget import Budget
from dspex_ray.budgets.setting import budget_statuses, set_budget
from dspex_ray.errors import BudgetExceededError
from dspex_ray.store import Store, open_store
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(120)]

CAP, ASKED = 60, 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.database.close()


def test_a_worker_killed_under_a_budget_leaves_its_calls_in_flight_unknown_and_the_cap_holds(
    ray_cluster: str, store: Store, wait: Callable[..., None]
) -> None:
    """All 30 questions hang when a worker is killed; they are asked again of the other one, and the rest is spent."""
    set_budget(Budget(scope="all", calls=CAP), store)
    answers: list[Any] = []
    script: list[Any] = ["slow"] * ASKED
    with ModelServer(answer=REPLIES, weather=Weather(script=script, faults=Faults(slow_s=4.0))) as model:
        with priced(model.base_url).to_agent_system(store=store) as system:

            async def ask(times: int) -> list[Any]:
                asked = (system.arun(question=str(n)) for n in range(times))
                return await asyncio.gather(*asked, return_exceptions=True)

            asker = threading.Thread(target=lambda: answers.extend(asyncio.run(ask(ASKED))))
            asker.start()
            wait(lambda: model.counters()["in_flight"] == ASKED, what="all calls in flight")
            in_flight = system.system.status("task-1").in_flight
            victim = next(node.pid for node in system.tree().agents() if node.id == "task-1")
            os.kill(victim, signal.SIGKILL)
            asker.join(60)
            wait(lambda: store.totals().unknown == in_flight, what="the unknown calls in the ledger")
            more = asyncio.run(ask(CAP))
        counted = model.counters()
    assert 0 < in_flight < ASKED
    assert [answer.text for answer in answers] == ["well"] * ASKED
    refused = [answer for answer in more if isinstance(answer, BudgetExceededError)]
    assert len(refused) == ASKED + in_flight
    assert counted["requests"] == CAP
    rows = list(store.single_calls())
    assert len(rows) == CAP
    assert {row["agent"] for row in rows if row["status"] == "unknown"} == {"task-1"}
    (status,) = budget_statuses(store)
    assert (status.spent.calls, status.out, status.holders) == (CAP, Amounts(), 0)
