"""Where each model call of a process passes the hard budgets that it falls under."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakKeyDictionary

from dspex_agents.clock import Clock
from dspex_ray.budgets.amounts import Amounts
from dspex_ray.budgets.book import Slice, TakeSlice
from dspex_ray.budgets.budget import EVERYTHING, Budget
from dspex_ray.budgets.ceiling import Ceiling, ceiling_of
from dspex_ray.budgets.purse import Purse
from dspex_ray.errors import BudgetExceededError, LedgerGoneError
from dspex_ray.lm.base import LM, LMRequest

if TYPE_CHECKING:
    from dspex_ray.calls import CallRecord
    from dspex_ray.store.budgets import SetBudget

RECHECK_S: Final = 5.0
"""Seconds after which a process looks for budgets that were set or changed."""
_SHORTEST_S: Final = 0.02
_LONGEST_S: Final = 0.5

_log = logging.getLogger(__name__)


class BudgetLender(Protocol):
    """Where a process's slices come from: the store, or the ledger agent that has it."""

    async def budgets(self) -> Sequence[SetBudget]:
        """Return all budgets that are set."""
        ...

    async def take(self, ask: TakeSlice) -> Slice:
        """Lend a slice."""
        ...


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for one call, in each of the purses that it is paid from."""

    most: Amounts
    purses: tuple[Purse, ...]

    @property
    def usd(self) -> float:
        """US dollars."""
        return self.most.usd

    @property
    def tokens(self) -> int:
        """Tokens of prompt and reply."""
        return self.most.tokens


class BudgetGate:
    """Admits calls within the slices that this process (`holder`) was lent; asks the lender only when they are used up.

    A call that would fit if others' open calls took nothing waits for them, in order, within its timeout.
    """

    def __init__(
        self,
        holder: str,
        lender: BudgetLender,
        clock: Clock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.holder, self._lender, self._clock, self._sleep = holder, lender, clock, sleep
        self._known: dict[tuple[str, str], SetBudget] = {}
        self._known_at = -math.inf
        self._purses: dict[tuple[str, str, float, float], Purse] = {}
        self._lock = Lock()
        self._turns = WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Purse | None, asyncio.Lock]]()

    async def admit(self, intent: CallRecord, lm: LM, request: LMRequest) -> Reservation | None:
        """Set aside the most the call may take in every budget it falls under; None when there is none.

        Raises BudgetExceededError when it does not fit or could cost anything, and LedgerGoneError when the lender
        does not answer.
        """
        if self._clock.monotonic() - self._known_at > RECHECK_S:
            await self._look()
        budgets = self._over(intent)
        if not budgets:
            return None
        ceiling = ceiling_of(lm, request)
        deadline = self._clock.monotonic() + request.timeout_s
        reserved: list[Purse] = []
        try:
            for one in budgets:
                _refuse_unpriced(one.budget, ceiling, lm)
                purse = self._purse(one, intent.at)
                await self._reserve(purse, one.budget, ceiling.amounts, deadline)
                reserved.append(purse)
        except BaseException:
            for purse in reserved:
                purse.settle(ceiling.amounts, Amounts())
            raise
        return Reservation(ceiling.amounts, tuple(reserved))

    def settle(self, reservation: Reservation, taken: Amounts) -> None:
        """Count what a call took and put the rest of what was set aside for it back."""
        for purse in reservation.purses:
            purse.settle(reservation.most, taken)

    def purses(self) -> list[Purse]:
        """Return those that have something to tell their books."""
        with self._lock:
            return [purse for purse in self._purses.values() if purse.has_news()]

    async def renew(self) -> None:
        """Tell the books what was spent and give back what was lent and not used; one that fails is asked later."""
        for purse in self.purses():
            ask = purse.ask(Amounts())
            if ask is not None:
                await self._asked(purse, ask)

    def _over(self, intent: CallRecord) -> list[SetBudget]:
        if not self._known:
            return []
        names = (
            ("all", EVERYTHING),
            ("tenant", intent.tenant),
            ("program", intent.program),
            ("run", intent.run_id),
            ("agent", intent.agent),
        )
        return [one for scope, name in names if name and (one := self._known.get((scope, name))) is not None]

    def _purse(self, one: SetBudget, at: float) -> Purse:
        budget, window = one.budget, one.budget.window(at)
        key = (budget.scope, budget.name, window, one.set_at)
        with self._lock:
            purse = self._purses.get(key)
            if purse is None:
                purse = self._purses[key] = Purse(budget.scope, budget.name, window, self.holder)
            return purse

    async def _look(self) -> None:
        async with self._turn(None):
            if self._clock.monotonic() - self._known_at <= RECHECK_S:
                return
            try:
                found = await self._lender.budgets()
            except Exception as error:
                if self._known_at == -math.inf:
                    raise LedgerGoneError(_no_answer(error), attempts=0) from error
                _log.warning("budgets could not be looked up, to be tried again: %s", error)
            else:
                self._known = {(one.budget.scope, one.budget.name): one for one in found}
            self._known_at = self._clock.monotonic()

    async def _reserve(self, purse: Purse, budget: Budget, most: Amounts, deadline: float) -> None:
        turn = self._turn(purse)
        if not turn.locked() and purse.reserve(most):
            return
        pause_s = _SHORTEST_S
        async with turn:
            while not purse.reserve(most):
                found = await self._lent(purse, most)
                if found is not None and found.verdict == "lent" and purse.reserve(most):
                    return
                is_late = self._clock.monotonic() + pause_s >= deadline
                if found is not None and (found.verdict == "refused" or is_late):
                    raise _refusal(budget, purse.window, most, found, is_late=is_late)
                if is_late:
                    raise LedgerGoneError(_no_answer(None), attempts=0)
                await self._sleep(pause_s)
                pause_s = min(_LONGEST_S, pause_s * 2)

    async def _lent(self, purse: Purse, most: Amounts) -> Slice | None:
        ask = purse.ask(most)
        if ask is None:
            return None  # another thread asks at this moment
        found = await self._asked(purse, ask)
        if isinstance(found, Exception):
            raise LedgerGoneError(_no_answer(found), attempts=0) from found
        return found

    async def _asked(self, purse: Purse, ask: TakeSlice) -> Slice | Exception:
        try:
            found = await self._lender.take(ask)
        except Exception as error:  # noqa: BLE001 - whatever the way to the lender raises
            purse.unanswered()
            _log.warning("a slice of the budget %s:%s could not be asked for: %s", purse.scope, purse.name, error)
            return error
        except BaseException:
            purse.unanswered()
            raise
        purse.lent(found)
        return found

    def _turn(self, purse: Purse | None) -> asyncio.Lock:
        turns = self._turns.setdefault(asyncio.get_running_loop(), {})
        return turns.setdefault(purse, asyncio.Lock())


def taken_by(record: CallRecord) -> Amounts:
    """Return what a call took of its budgets: all that was reserved where the cost is not known."""
    usd = record.reserved_usd if record.cost_usd is None else record.cost_usd
    counted = record.prompt_tokens + record.completion_tokens
    tokens = counted if record.reserved_tokens is None else record.reserved_tokens
    return Amounts(usd or 0.0, 0 if record.status == "cached" else 1, tokens)


def _refuse_unpriced(budget: Budget, ceiling: Ceiling, lm: LM) -> None:
    if budget.usd is not None and not ceiling.priced and budget.unpriced == "refuse":
        raise BudgetExceededError(
            f"{lm.model} has no known price, so the budget {budget.key} ({budget.caps()}) cannot be held. Nothing was "
            f"sent. Give the client a price, or let such calls count as nothing: "
            f"dspex budget set {budget.key} --unpriced allow.",
            budget.key,
            budget.caps(),
        )


def _refusal(budget: Budget, window: float, most: Amounts, found: Slice, *, is_late: bool) -> BudgetExceededError:
    taken: list[str] = []
    parts: list[str] = []
    for cap, told, up_to in (
        (
            budget.usd,
            f"${found.spent.usd:,.6f} spent, ${found.out.usd:,.6f} out",
            f", this call up to ${most.usd:,.6f}",
        ),
        (budget.calls, f"{found.spent.calls:,} calls made, {found.out.calls:,} out", ""),
        (
            budget.tokens,
            f"{found.spent.tokens:,} tokens spent, {found.out.tokens:,} out",
            f", this call up to {most.tokens:,}",
        ),
    ):
        if cap is not None:
            taken.append(told)
            parts.append(told + up_to)
    waited = " What is out with other processes did not come back within the call's timeout." if is_late else ""
    end = budget.window_end(window)
    return BudgetExceededError(
        f"The budget {budget.key} ({budget.caps()}) has no room: {'; '.join(parts)}. Nothing was sent.{waited} Raise "
        f"it with `dspex budget set {budget.key} ...`, or bound the reply with a smaller max_tokens.",
        budget.key,
        budget.caps(),
        "; ".join(taken),
        end if math.isfinite(end) else None,
    )


def _no_answer(error: Exception | None) -> str:
    told = "" if error is None else f" ({type(error).__name__}: {error})"
    return f"Whoever keeps the budgets did not answer{told}. Nothing was sent; calling again may succeed."
