"""`ledger`: keep every model call of a process in a store, and hold the store's budgets."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import AgentSystemError
from dspex_agents.ids import IdSource, RandomIds
from dspex_ray.budgets.amounts import NOTHING
from dspex_ray.budgets.book import Slice, TakeSlice
from dspex_ray.budgets.gate import BudgetGate
from dspex_ray.calls import CallLog, CallRecord, metered, recording
from dspex_ray.calls.call_meter import CallMeter, begun_journal, new_holder
from dspex_ray.calls.journal import fold, journal_folder
from dspex_ray.store import SetBudget, Store, open_store

_TICK_S: Final = 0.5
_FOLD_EVERY: Final = 4  # ticks
_BATCH: Final = 1000

_log = logging.getLogger(__name__)


@contextmanager
def ledger(
    store: Store | str | None = None, *, clock: Clock | None = None, ids: IdSource | None = None
) -> Iterator[CallLog]:
    """Keep the model calls made within in the store, within half a second, and hold its budgets.

    `store` is a store, or where one is (see `open_store`). The calls of threads that were started before are not seen.
    What a kill keeps from the store is there once any process opens it again; calls that were open then are `unknown`.
    A call that a budget has no room for raises BudgetExceededError. Yields the log of the calls.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    clock, ids = clock or SystemClock(), ids or RandomIds()
    writer = _Writer(opened, clock, new_holder(ids))
    with recording(ids, clock) as log, metered(writer.meter):
        writer.start()
        try:
            yield log
        finally:
            writer.stop()
            if opened is not store:
                opened.database.close()


class StoreLender:
    """Lends slices of budgets straight from the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    async def budgets(self) -> Sequence[SetBudget]:
        """Return all budgets that are set."""
        return await asyncio.to_thread(self._store.budgets)

    async def take(self, ask: TakeSlice) -> Slice:
        """Lend a slice."""
        return await asyncio.to_thread(self.take_now, ask)

    def take_now(self, ask: TakeSlice) -> Slice:
        """Lend a slice; blocks."""
        return self._store.take_budget(ask, now=self._clock.now())


class _Writer:
    """Writes ended calls to the store on a thread of its own, which also gives unused slices of budgets back."""

    def __init__(self, store: Store, clock: Clock, holder: str) -> None:
        self._store, self._clock = store, clock
        self._folder = journal_folder(store.database.url)
        self._lender = StoreLender(store, clock)
        self._gate = BudgetGate(holder, self._lender, clock)
        self._journal = begun_journal(self._folder, holder)
        self._ended: deque[CallRecord] = deque()
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="ledger-writer", daemon=True)
        self.meter = CallMeter(self._gate, self._journal, self._ended.append)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left and give all slices back; what cannot be written stays in the journal, with a log line."""
        self._stopping.set()
        self._thread.join()
        is_kept = self._tried(is_last=True)
        if self._journal is not None:
            self._journal.close(is_kept=is_kept)
        elif not is_kept:
            _log.error("%d model calls could not be written to the ledger", len(self._ended))

    def _run(self) -> None:
        ticks = 0
        while not self._stopping.wait(_TICK_S):
            ticks += 1
            if self._tried() and ticks % _FOLD_EVERY == 0:
                fold(self._folder, self._store.keep_journal)

    def _tried(self, *, is_last: bool = False) -> bool:
        try:
            self._write()
            self._renew()
            if is_last:
                self._store.keep_journal((), self.meter.holder)
        except AgentSystemError as error:
            _log.warning("the ledger could not be written, to be tried again: %s", error)
            return False
        return True

    def _write(self) -> None:
        while self._ended:
            batch = [self._ended[index] for index in range(min(_BATCH, len(self._ended)))]
            self._store.record_calls([record.as_row() for record in batch])
            for _ in batch:
                self._ended.popleft()

    def _renew(self) -> None:
        for purse in self._gate.purses():
            ask = purse.ask(NOTHING)
            if ask is None:
                continue
            try:
                found = self._lender.take_now(ask)
            except AgentSystemError:
                purse.unanswered()
                raise
            purse.lent(found)
