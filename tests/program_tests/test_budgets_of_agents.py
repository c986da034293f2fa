"""Hard budgets and the journal in a system of agents: a search stops cleanly and can be resumed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_agents import ChildSpec, SupervisorSpec, SystemSpec, start_local_system
from dspex_agents.ids import CountingIds
from dspex_ray.agent_system import start_agent_system
from dspex_ray.budgets.amounts import Amounts
from dspex_ray.budgets.book import TakeSlice
from dspex_ray.budgets.budget import Budget
from dspex_ray.budgets.setting import budget_statuses, set_budget
from dspex_ray.calls import CallRecord
from dspex_ray.calls.journal import CallJournal, journal_folder
from dspex_ray.calls.ledger_agent import LEDGER, LedgerAgent
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.errors import BudgetExceededError, DspexError
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest
from dspex_ray.lm.embedded import EmbeddedNearest
from dspex_ray.lm.prices import Price
from dspex_ray.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.database.close()


def test_a_search_without_budget_left_stops_loses_nothing_and_goes_on_when_it_is_raised(store: Store) -> None:
    set_budget(Budget(scope="all", calls=150), store)
    options: dict[str, Any] = {"trials": 3, "runtime": "in-process", "store": store, "optimizer": "random"}
    with pytest.raises(DspexError, match=r"BudgetExceededError: The budget all \(150 calls\).*resume run") as stopped:
        dspex.optimize(ShopRoute(), DATA, **options)
    run_id = str(stopped.value).split("Sweep '")[1].split("'")[0]
    assert store.totals().calls == 150
    assert store.totals().failed == 0
    set_budget(Budget(scope="all", calls=100_000), store)
    found = dspex.optimize(ShopRoute(), DATA, resume=run_id, **options)
    assert len(found.history) == 3
    assert all(trial.failed is None for trial in found.history)


class Priced:
    """Answers as `embedded/nearest`; a call costs a dollar in a thousand."""

    model = "test/priced"
    price = Price(0.0, 1e-6, 0.0)

    def __init__(self) -> None:
        self._nearest = EmbeddedNearest()

    async def complete(self, request: LMRequest) -> LMReply:
        return dataclasses.replace(await self._nearest.complete(request), model=self.model, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing to close."""


def test_a_run_with_a_hard_budget_spends_no_more_and_can_be_resumed_with_a_higher_one(store: Store) -> None:
    program = ShopRoute().with_lm(Priced())
    options: dict[str, Any] = {"trials": 2, "runtime": "in-process", "store": store, "optimizer": "random"}
    with pytest.raises(DspexError, match="BudgetExceededError: The budget run:run-1"):
        dspex.optimize(program, DATA, hard_budget_usd=0.1, ids=CountingIds(), **options)
    assert 0.0 < store.totals().cost_usd <= 0.1
    found = dspex.optimize(program, DATA, hard_budget_usd=100.0, resume="run-1", **options)
    assert len(found.history) == 2


def test_an_agent_answers_until_its_budget_is_spent_and_its_error_reaches_the_caller(store: Store) -> None:
    set_budget(Budget(scope="agent", name="task-1", calls=2), store)
    with start_agent_system(ShopRoute(), workers=1, runtime="in-process", store=store) as system:
        for number in range(2):
            system.run(message=f"Where is my parcel {number}?")
        with pytest.raises(BudgetExceededError, match="agent:task-1"):
            system.run(message="Where is my parcel now?")
    assert [line.group for line in store.costs(["agent"])] == [{"agent": "task-1"}]
    open_store(store.database.url).database.close()
    (status,) = budget_statuses(store)
    assert (status.spent.calls, status.out, status.holders) == (2, Amounts(), 0)
    assert not list(journal_folder(store.database.url).glob("*.jsonl"))


def test_the_ledger_agent_keeps_the_journal_of_a_process_that_ended_and_frees_its_slice(store: Store) -> None:
    set_budget(Budget(scope="all", calls=10), store)
    journal = CallJournal(journal_folder(store.database.url), "dead")
    ask = TakeSlice(scope="all", name="*", window=0.0, holder="dead", need=Amounts(calls=6))
    store.take_budget(ask, now=time.time())
    record = CallRecord(id="c", at=time.time(), program="a:A", model="m", status="unknown", holder="dead")
    journal.intend(record.as_row())
    journal.close()  # what is open stays so, as after a kill
    ledger = ChildSpec(id=LEDGER, start=LedgerAgent, kwargs={"store": store})
    spec = SystemSpec(name="ledger-only", supervisor=SupervisorSpec(id="supervisor", children=(ledger,)))
    system = start_local_system(spec)
    try:
        deadline = time.monotonic() + 10
        while store.totals().unknown == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        system.stop()
    (status,) = budget_statuses(store)
    assert (status.spent.calls, status.out.calls, status.holders) == (1, 0, 0)
