"""Hard budgets around programs: what is refused, what waits, what is settled, and that nothing is scored 0 for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_agents.clock import ManualClock
from dspex_ray.budgets.amounts import Amounts
from dspex_ray.budgets.book import Slice, TakeSlice
from dspex_ray.budgets.budget import Budget, named
from dspex_ray.budgets.ceiling import DEFAULT_OUTPUT, ceiling_of
from dspex_ray.budgets.gate import BudgetGate, taken_by
from dspex_ray.budgets.setting import budget_statuses, remove_budget, set_budget
from dspex_ray.calls import CallRecord, recorded_call, recorded_stream, tagged
from dspex_ray.calls.ledger_context import ledger
from dspex_ray.errors import (
    BudgetExceededError,
    ConfigurationError,
    LedgerGoneError,
    LMConnectionError,
    LMServerError,
    LMTimeoutError,
    UnknownNameError,
)
from dspex_ray.evaluation import evaluate
from dspex_ray.infrastructure import is_infrastructure
from dspex_ray.lm.base import ChatMessage, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.prices import Price
from dspex_ray.store import SetBudget, Store, open_store

NOW = 1_800_000_000.0  # in January 2027
HELLO = LMRequest(messages=(ChatMessage("user", "hello"),), max_tokens=10)


class Metered:
    """A model of known price that answers with `cost`, or raises; waits for `gate` if there is one."""

    model = "test/metered"
    price: Price | None = Price(0.0, 0.01, 0.0)

    def __init__(self, reply: LMReply | Exception | None = None) -> None:
        self.reply = reply or LMReply(
            text='{"text": "x"}', model=self.model, usage=Usage(completion_tokens=5), cost_usd=0.05
        )
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.calls = 0

    async def complete(self, request: LMRequest) -> LMReply:
        self.calls += 1
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(delta="x")
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing to close."""


class Echo(dspex.Program):
    """Repeat the text."""

    max_tokens = 10

    class Input(dspex.Schema):
        text: str

    class Output(dspex.Schema):
        text: str


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.database.close()


def spent(store: Store) -> Amounts:
    (status,) = budget_statuses(store)
    assert status.out == Amounts()
    return status.spent


def ask(lm: Any, times: int = 1, request: LMRequest = HELLO) -> None:
    async def several() -> None:
        for _ in range(times):
            await recorded_call(lm, request, "a:A")

    asyncio.run(several())


def test_a_call_that_does_not_fit_is_not_sent_and_the_error_says_how_to_raise_the_budget(store: Store) -> None:
    set_budget(Budget(scope="program", name="a:A", usd=0.17), store)
    lm = Metered()
    with ledger(store), pytest.raises(BudgetExceededError) as refused:
        ask(lm, times=5)
    assert lm.calls == 2  # each reserves 0.10 and takes 0.05: after two 0.07 is left
    assert refused.value.budget == "program:a:A"
    assert "program:a:A ($0.17) has no room: $0.100000 spent" in str(refused.value)
    assert "this call up to $0.100000" in str(refused.value)
    assert "dspex budget set program:a:A" in str(refused.value)
    assert spent(store).usd == pytest.approx(0.10)
    assert store.totals().calls == 2


def test_a_call_passes_every_budget_it_falls_under_and_no_other(store: Store) -> None:
    for key in ("tenant:acme", "run:r", "agent:a1", "all", "tenant:other"):
        scope, name = named(key)
        set_budget(Budget(scope=scope, name=name, calls=3), store)
    lm = Metered()
    with ledger(store):
        with tagged(tenant="acme", run_id="r", agent="a1"):
            ask(lm, times=2)
        ask(lm)
        with tagged(tenant="other"), pytest.raises(BudgetExceededError, match="The budget all "):
            ask(lm)
    assert {one.budget.key: one.spent.calls for one in budget_statuses(store)} == {
        "agent:a1": 2,
        "all": 3,
        "run:r": 2,
        "tenant:acme": 2,
        "tenant:other": 0,
    }


def test_a_row_that_no_budget_has_room_for_ends_the_evaluation_and_is_no_zero(store: Store) -> None:
    set_budget(Budget(scope="all", calls=4), store)
    rows = [{"text": "x"}] * 10
    with ledger(store), pytest.raises(BudgetExceededError, match="4 calls made"):
        evaluate(Echo().with_lm(Metered()), rows, concurrency=2)
    assert is_infrastructure(BudgetExceededError("no room"))


def test_open_calls_are_waited_for_when_what_they_do_not_take_may_do(store: Store) -> None:
    """Ten at once reserve 0.10 each of a budget of 0.60, and take 0.05 each: all fit in the end."""
    set_budget(Budget(scope="all", usd=0.6), store)
    lm = Metered()

    async def at_once() -> None:
        await asyncio.gather(*(recorded_call(lm, HELLO, "a:A") for _ in range(10)))

    with ledger(store):
        asyncio.run(at_once())
    assert spent(store).usd == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("error", "taken"),
    [
        (LMServerError("500", status=500), 0.0),
        (LMConnectionError("limits", attempts=0), 0.0),
        (LMTimeoutError("slow"), 0.1),
        (LMConnectionError("cut in the middle"), 0.1),
    ],
)
def test_a_failed_call_takes_all_that_was_reserved_unless_the_provider_refused_it(
    store: Store, error: Exception, taken: float
) -> None:
    set_budget(Budget(scope="all", usd=1.0), store)
    with ledger(store), pytest.raises(type(error)):
        ask(Metered(error))
    assert spent(store).usd == pytest.approx(taken)
    (row,) = store.single_calls()
    assert (row["cost_usd"], row["reserved_usd"] or 0.0) == (None, pytest.approx(taken))


def test_a_cached_reply_takes_nothing_and_a_closed_stream_all_that_was_reserved(store: Store) -> None:
    set_budget(Budget(scope="all", usd=1.0), store)

    async def closed_early() -> None:
        pieces = recorded_stream(Metered(), HELLO, "a:A")
        await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]  # an async generator

    with ledger(store):
        ask(Metered(LMReply(text="x", model="m", cost_usd=0.0, cached=True)))
        asyncio.run(closed_early())
    taken = spent(store)
    assert taken.usd == pytest.approx(0.1)
    assert (taken.calls, taken.tokens) == (1, 20)
    assert [row["status"] for row in store.single_calls()] == ["cached", "error"]


def test_a_call_given_up_while_it_waits_holds_nothing(store: Store) -> None:
    set_budget(Budget(scope="all", calls=1), store)
    lm = Metered()

    async def given_up() -> None:
        lm.gate = asyncio.Event()
        first = asyncio.create_task(recorded_call(lm, HELLO, "a:A"))
        await lm.asked.wait()
        second = asyncio.create_task(recorded_call(lm, HELLO, "a:A"))
        await asyncio.sleep(0)  # it has begun, and waits
        second.cancel()
        lm.gate.set()
        await asyncio.gather(first, second, return_exceptions=True)

    with ledger(store):
        asyncio.run(given_up())
    assert spent(store).calls == lm.calls == 1


def test_a_model_without_a_price_is_refused_under_a_cap_in_dollars_unless_it_is_allowed(store: Store) -> None:
    lm = Metered(LMReply(text="x", model="m", cost_usd=None, usage=Usage(completion_tokens=5)))
    lm.price = None
    set_budget(Budget(scope="all", usd=1.0), store)
    with ledger(store), pytest.raises(BudgetExceededError, match=r"no known price.*--unpriced allow"):
        ask(lm)
    set_budget(Budget(scope="all", usd=1.0, unpriced="allow"), store)
    with ledger(store):
        ask(lm)
    assert (lm.calls, store.totals().unpriced) == (1, 1)


def test_what_the_ledger_has_counts_when_a_budget_is_set_and_other_days_do_not(store: Store) -> None:
    day = 86_400.0
    costs = [(NOW - day, 4.0), (NOW, 0.5)]
    rows = [CallRecord(id=str(at), at=at, program="a:A", model="m", cost_usd=usd).as_row() for at, usd in costs]
    store.record_calls(rows)
    clock = ManualClock(NOW)
    set_budget(Budget(scope="all", usd=0.6, period="day"), store, clock=clock)
    (status,) = budget_statuses(store, clock=clock)
    assert status.spent == Amounts(0.5, 1, 0)
    with ledger(store, clock=clock):
        ask(Metered())
    with ledger(store, clock=clock), pytest.raises(BudgetExceededError):
        ask(Metered())
    clock.advance(day)
    with ledger(store, clock=clock):
        ask(Metered())
    (status,) = budget_statuses(store, clock=clock)
    assert status.spent.usd == pytest.approx(0.05)


def test_a_budget_removed_and_set_again_counts_what_was_spent_once(store: Store) -> None:
    set_budget(Budget(scope="all", usd=1.0), store)
    with ledger(store):
        ask(Metered())
    remove_budget("all", store)
    set_budget(Budget(scope="all", usd=2.0), store)
    with ledger(store):
        ask(Metered())
    assert spent(store).usd == pytest.approx(0.1)
    with pytest.raises(UnknownNameError, match="Known: all"):
        remove_budget("run:x", store)


def test_a_lender_that_does_not_answer_is_an_error_of_the_way_and_sends_nothing() -> None:
    class Gone:
        async def budgets(self) -> list[SetBudget]:
            raise ConnectionError("the ledger is gone")

        async def take(self, ask: TakeSlice) -> Slice:
            raise AssertionError("never asked")

    gate = BudgetGate("me", Gone(), ManualClock())
    intent = CallRecord(id="1", at=NOW, program="a:A", model="m")
    with pytest.raises(LedgerGoneError, match=r"the ledger is gone.*Nothing was sent") as lost:
        asyncio.run(gate.admit(intent, Metered(), HELLO))
    assert (lost.value.attempts, lost.value.retryable) == (0, True)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"scope": "all"}, "caps nothing"),
        ({"scope": "all", "usd": 0.0}, "usd must be above 0"),
        ({"scope": "all", "usd": float("nan")}, "usd must be above 0"),
        ({"scope": "all", "calls": 1.5}, "calls must be a whole number"),
        ({"scope": "house", "name": "x", "usd": 1.0}, "scope must be one of all, tenant, program, run, agent"),
        ({"scope": "run", "usd": 1.0}, "scope `all` has the name"),
        ({"scope": "run", "name": "", "usd": 1.0}, "1 to 300 characters"),
        ({"scope": "all", "usd": 1.0, "period": "year"}, "period must be one of total, day, month"),
    ],
)
def test_a_budget_that_cannot_be_says_what_is_wrong(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Budget(**fields)


def test_periods_begin_and_end_in_utc() -> None:
    day, month = (Budget(scope="all", usd=1.0, period=period) for period in ("day", "month"))
    assert day.window(NOW) == NOW - NOW % 86_400
    assert day.window_end(day.window(NOW)) - day.window(NOW) == 86_400
    assert month.window_end(month.window(NOW)) - month.window(NOW) == 31 * 86_400
    assert Budget(scope="all", usd=1.0).window(NOW) == 0.0


def test_the_most_a_call_may_take_is_what_it_may_answer_at_most() -> None:
    lm = Metered()
    most = ceiling_of(lm, HELLO)
    assert most.amounts.usd == pytest.approx(0.1)
    assert (most.amounts.calls, most.priced) == (1, True)
    unbound = ceiling_of(lm, LMRequest(messages=HELLO.messages))
    assert unbound.amounts.usd == pytest.approx(DEFAULT_OUTPUT * 0.01)
    lm.price = None
    assert not ceiling_of(lm, HELLO).priced


def test_what_a_call_took_is_what_the_store_sums(store: Store) -> None:
    fields: list[dict[str, Any]] = [
        {"status": "ok", "cost_usd": 0.5, "prompt_tokens": 3, "completion_tokens": 4},
        {"status": "cached", "cost_usd": 0.0},
        {"status": "error", "error": "x"},
        {"status": "error", "error": "x", "reserved_usd": 0.25, "reserved_tokens": 9},
        {"status": "unknown", "reserved_usd": 0.125, "reserved_tokens": 7},
    ]
    records = [CallRecord(id=str(n), at=NOW, program="a:A", model="m", **one) for n, one in enumerate(fields)]
    store.record_calls([record.as_row() for record in records])
    set_budget(Budget(scope="program", name="a:A", usd=1.0), store)
    assert spent(store) == sum((taken_by(record) for record in records), Amounts())
