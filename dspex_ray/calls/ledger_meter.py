"""The meter of a process that asks a ledger agent: budgets and the journal, without a store of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from dspex_agents import AgentSystemError, Clock, IdSource, RandomIds
from dspex_agents.agent import AgentContext
from dspex_ray.budgets.book import Slice, TakeSlice
from dspex_ray.budgets.gate import BudgetGate
from dspex_ray.calls.call_meter import CallMeter, begun_journal, new_holder
from dspex_ray.calls.journal import Row, fold
from dspex_ray.calls.ledger_agent import LEDGER, GetBudgets, GetJournalFolder, KeepJournal
from dspex_ray.store import SetBudget

_TIMEOUT_S: Final = 10.0
_RENEW_S: Final = 1.0

_log = logging.getLogger(__name__)


class AskLedger(Protocol):
    """The way to the ledger agent: of an agent of its system, or of a process outside."""

    def __call__(self, body: Any, *, control: bool = False, retry_safe: bool = False) -> Coroutine[Any, Any, Any]:
        """Return the ledger's answer, within 10 s. Raises an AgentSystemError."""
        ...


def ledger_of(context: AgentContext) -> AskLedger:
    """Return an agent's way to the ledger of its system."""
    return partial(context.ask, LEDGER, timeout_s=_TIMEOUT_S)


class AgentBudgetLender:
    """Asks the ledger agent for slices of budgets. Made on the event loop of the way to it; asked from any."""

    def __init__(self, ask: AskLedger) -> None:
        self._ask_ledger, self._loop = ask, asyncio.get_running_loop()

    async def budgets(self) -> Sequence[SetBudget]:
        """Return all budgets that are set."""
        found: Sequence[SetBudget] = await self._ask(GetBudgets())
        return found

    async def take(self, ask: TakeSlice) -> Slice:
        """Lend a slice."""
        lent: Slice = await self._ask(ask)
        return lent

    async def _ask(self, body: Any) -> Any:
        asking = self._ask_ledger(body, control=True)
        if asyncio.get_running_loop() is self._loop:
            return await asking
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asking, self._loop))


class LedgerMeter:
    """Meters the calls of a process that has no store, by way of the ledger agent; made on its event loop.

    Start it before the first call and stop it after the last. Whatever killed processes of this machine left in their
    journals goes to the ledger first.
    """

    def __init__(self, ask: AskLedger, clock: Clock, ids: IdSource | None = None) -> None:
        self._ask, self._loop = ask, asyncio.get_running_loop()
        self._gate = BudgetGate(new_holder(ids or RandomIds()), AgentBudgetLender(ask), clock)
        self._folder: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.meter = CallMeter(self._gate, None)

    async def start(self) -> None:
        """Begin the journal where the ledger says; without one, with a log line, if it does not answer."""
        try:
            told: str = await self._ask(GetJournalFolder(), control=True)
        except AgentSystemError as error:
            _log.warning("no journal of model calls, since the ledger did not say where: %s", error)
        else:
            self._folder = Path(told)
            await self._fold()
            self.meter.journal = begun_journal(self._folder, self.meter.holder, self._closed)
        self._spawn(self._renewing())

    async def stop(self) -> None:
        """Give all slices back, within a second, and end the journal; the ledger agent folds it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.meter.journal is not None:
            self.meter.journal.close()
        with contextlib.suppress(TimeoutError):  # a ledger that is gone settles them by the journal when it is back
            async with asyncio.timeout(_RENEW_S):
                await self._gate.renew()

    async def _renewing(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            await self._gate.renew()

    def _closed(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._spawn(self._fold()))

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fold(self) -> None:
        if self._folder is None:
            return
        try:
            await asyncio.to_thread(fold, self._folder, self._keep)
        except (AgentSystemError, TimeoutError, OSError) as error:
            _log.warning("journals of model calls in %s stay for later: %s", self._folder, error)

    def _keep(self, rows: list[Row], holder: str | None) -> None:
        kept = self._ask(KeepJournal(tuple(rows), holder), retry_safe=True)
        asyncio.run_coroutine_threadsafe(kept, self._loop).result(timeout=2 * _TIMEOUT_S)
