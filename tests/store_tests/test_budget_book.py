"""The slices of a hard budget: nothing passed, nothing lost, whatever the holders do."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from dspex_ray.budgets.amounts import NOTHING, Amounts
from dspex_ray.budgets.book import BudgetBook, TakeSlice
from dspex_ray.budgets.purse import Purse

MOST = st.builds(Amounts, st.integers(1, 64).map(lambda n: n / 64), st.just(1), st.integers(1, 500))
SHARE = st.integers(0, 8)


def take(book: BudgetBook, holder: str, now: float = 0.0, **told: Amounts | int) -> tuple[str, Amounts]:
    ask = TakeSlice(scope="all", name="*", window=0.0, holder=holder, **told)  # type: ignore[arg-type]  # amounts and ahead by name
    found = book.take(ask, now)
    return found.verdict, found.granted


def usd(amount: float) -> Amounts:
    return Amounts(usd=amount)


def room(amount: float) -> BudgetBook:
    return BudgetBook(Amounts(amount, 1000, 1000))


def test_a_slice_holds_what_is_needed_and_ahead_of_that_a_part_of_what_is_free() -> None:
    book = room(8.0)
    assert take(book, "a", need=usd(1.0), ahead=1) == ("lent", usd(1.0))
    assert take(book, "b", need=usd(1.0), ahead=100) == ("lent", usd(7.0 / 4))


def test_what_a_holder_does_not_tell_as_held_goes_back() -> None:
    book = room(8.0)
    take(book, "a", need=usd(6.0))
    assert take(book, "a", spent=usd(1.0), reserved=usd(2.0)) == ("lent", usd(3.0))
    assert take(book, "b", need=usd(5.0)) == ("lent", usd(5.0))


def test_a_need_waits_while_others_may_give_back_and_is_refused_when_that_is_spent() -> None:
    book = room(8.0)
    take(book, "a", need=usd(6.0))
    assert take(book, "b", need=usd(3.0))[0] == "wait"
    take(book, "a", spent=usd(6.0))
    assert take(book, "b", need=usd(3.0))[0] == "refused"
    assert take(book, "b", need=usd(2.0))[0] == "lent"


def test_nothing_is_lent_ahead_soon_after_somebody_was_short() -> None:
    book = room(8.0)
    take(book, "a", need=usd(6.0))
    take(book, "b", now=10.0, need=usd(3.0))
    take(book, "a", now=10.5)
    assert take(book, "b", now=11.0, need=usd(1.0), ahead=4)[1] == usd(1.0)
    assert take(book, "c", now=14.0, need=usd(1.0), ahead=2)[1].usd > 1.0


def test_an_ask_that_comes_twice_or_late_changes_nothing() -> None:
    book = room(8.0)
    take(book, "a", spent=usd(3.0), need=usd(1.0))
    take(book, "a", spent=usd(3.0), need=usd(1.0))
    take(book, "a", spent=usd(2.0))
    assert book.spent == usd(3.0)


def test_all_that_a_dead_holder_was_lent_counts_until_its_calls_are_known() -> None:
    book = room(8.0)
    take(book, "dead", need=usd(6.0))
    assert take(book, "b", need=usd(3.0))[0] == "wait"
    book.settle("dead", usd(0.5))
    assert take(book, "b", need=usd(7.5))[0] == "lent"
    assert book.spent == usd(0.5)


@pytest.mark.parametrize("lost", [True, False])
def test_a_purse_spends_nothing_beyond_what_it_told_as_held_while_it_asks(*, lost: bool) -> None:
    book, purse = room(8.0), Purse("all", "*", 0.0, "a")
    ask = purse.ask(usd(2.0))
    assert ask is not None
    purse.lent(book.take(ask, 0.0))
    assert purse.reserve(usd(2.0))
    purse.settle(usd(2.0), usd(0.5))
    again = purse.ask(NOTHING)
    assert again is not None
    assert not purse.reserve(usd(1.0))
    assert purse.ask(usd(1.0)) is None
    if lost:
        purse.unanswered()
    else:
        purse.lent(book.take(again, 0.0))
    assert not purse.reserve(usd(1.0))
    assert purse.ask(usd(1.0)) is not None


class Holders(RuleBasedStateMachine):
    """Processes that lend, call, settle, give back, lose answers and die, over one book."""

    holders = Bundle("holders")

    def __init__(self) -> None:
        super().__init__()
        self.book = BudgetBook(Amounts(4.0, 40, 8000))
        self.purses: dict[str, Purse] = {}
        self.open: dict[str, list[Amounts]] = {}
        self.spent: dict[str, Amounts] = {}
        self.now = 0.0

    @initialize()
    def begin(self) -> None:
        self.now = 100.0

    @rule(target=holders)
    def join(self) -> str:
        name = f"h{len(self.spent)}"
        self.purses[name], self.open[name], self.spent[name] = Purse("all", "*", 0.0, name), [], NOTHING
        return name

    @rule(holder=holders, most=MOST, is_lost=st.booleans())
    def call(self, holder: str, most: Amounts, *, is_lost: bool) -> None:
        purse = self.purses.get(holder)
        if purse is None:
            return
        if not purse.reserve(most):
            ask = purse.ask(most)
            assert ask is not None
            found = self.book.take(ask, self.now)
            if is_lost:
                purse.unanswered()
                return
            purse.lent(found)
            reserved = purse.reserve(most)
            assert reserved == (found.verdict == "lent")
            if not reserved:
                return
        self.open[holder].append(most)

    @rule(holder=holders, part=SHARE)
    def end_call(self, holder: str, part: int) -> None:
        purse = self.purses.get(holder)
        if purse is None or not self.open[holder]:
            return
        most = self.open[holder].pop()
        took = Amounts(most.usd * part / 8, 1, most.tokens * part // 8)
        purse.settle(most, took)
        self.spent[holder] += took

    @rule(holder=holders)
    def renew(self, holder: str) -> None:
        purse = self.purses.get(holder)
        if purse is None:
            return
        ask = purse.ask(NOTHING)
        assert ask is not None
        purse.lent(self.book.take(ask, self.now))
        told = self.book.leases[holder].spent
        assert abs(told.usd - self.spent[holder].usd) < 1e-9
        assert (told.calls, told.tokens) == (self.spent[holder].calls, self.spent[holder].tokens)

    @rule(holder=holders)
    def die(self, holder: str) -> None:
        """What was open took all that was reserved; the ledger knows it from the journal."""
        if self.purses.pop(holder, None) is None:
            return
        self.spent[holder] = sum(self.open.pop(holder), self.spent[holder])
        self.book.settle(holder, self.spent[holder])

    @rule(seconds=st.integers(1, 10))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def what_counts_never_passes_the_limit(self) -> None:
        assert self.book.counted.fits(self.book.limit)

    @invariant()
    def what_was_spent_and_is_open_is_counted(self) -> None:
        held = [sum(self.open.get(name, []), spent) for name, spent in self.spent.items()]
        assert sum(held, NOTHING).fits(self.book.counted)

    def teardown(self) -> None:
        for name in list(self.purses):
            self.die(name)
        total = sum(self.spent.values(), NOTHING)
        assert abs(self.book.spent.usd - total.usd) < 1e-9
        assert (self.book.spent.calls, self.book.spent.tokens) == (total.calls, total.tokens)
        left = self.book.limit - self.book.spent
        if left.calls and left.tokens:  # all that is not spent can still be spent
            assert take(self.book, "last", self.now, need=left)[0] == "lent"


Holders.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestHolders = Holders.TestCase
