"""The ledger agent: the one writer of model calls of a system, on the node where the store is."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from dspex_agents import Agent
from dspex_agents.errors import AgentSystemError
from dspex_ray.budgets.book import Slice, TakeSlice
from dspex_ray.calls.journal import fold, journal_folder
from dspex_ray.store import CallTotals, SetBudget, Store, Version
from dspex_ray.store.spans import SpanStore

LEDGER = "ledger"
_FOLD_S: Final = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordCalls:
    """Keep these model calls (see `CallRecord.as_row`); answered with their number once they are durable."""

    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RecordSpans:
    """Keep these spans; answered with their number once they are durable."""

    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class GetTotals:
    """Answer with the `CallTotals` of a program path, or of everything."""

    program: str | None = None


@dataclass(frozen=True, slots=True)
class GetVersion:
    """Answer with the `Version` of a program path, with its state: the agents of other nodes have no way to the store.

    Raises UnknownNameError or UsageError if it is not there.
    """

    program: str
    which: str | int = "latest"


@dataclass(frozen=True, slots=True)
class GetBudgets:
    """Answer with every `SetBudget`. A `TakeSlice` of one is answered with a `Slice`."""


@dataclass(frozen=True, slots=True)
class GetJournalFolder:
    """Answer with the folder in which processes on the ledger's machine keep their journals of calls, as text."""


@dataclass(frozen=True, slots=True)
class KeepJournal:
    """Keep the calls of a process's journal (see `Store.keep_journal`); answered with their number."""

    rows: tuple[dict[str, Any], ...]
    holder: str | None


class LedgerAgent(Agent):
    """Writes calls to the store, lends slices of budgets and reads versions, one after another, off the event loop.

    Every two seconds it keeps what killed processes of this machine left in their journals.
    """

    concurrency = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spans: SpanStore | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._folding: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Begin to look for journals of killed processes."""
        self._folding = asyncio.create_task(self._fold_often(), name="ledger-folding")

    async def on_message(self, body: Any) -> int | CallTotals | Version:
        """Record calls, sum them up, or find a version."""
        loop = asyncio.get_running_loop()
        match body:
            case RecordCalls(rows):
                await loop.run_in_executor(self._thread, self._store.record_calls, rows)
                return len(rows)
            case RecordSpans(rows):
                await loop.run_in_executor(self._thread, self._keep_spans, rows)
                return len(rows)
            case GetTotals(program):
                return await loop.run_in_executor(self._thread, lambda: self._store.totals(program=program))
            case GetVersion(program, which):
                return await loop.run_in_executor(self._thread, self._store.version, program, which)
            case KeepJournal(rows, holder):
                await loop.run_in_executor(self._thread, self._store.keep_journal, rows, holder)
                return len(rows)
            case _:
                raise NotImplementedError(f"The ledger takes no message of type {type(body).__name__}.")

    async def on_control(self, body: Any) -> Slice | list[SetBudget] | str:
        """Lend a slice of a budget, tell the budgets, or where journals are, however full the mailbox."""
        loop = asyncio.get_running_loop()
        match body:
            case TakeSlice():
                take = partial(self._store.take_budget, body, now=self.context.clock.now())
                return await loop.run_in_executor(self._thread, take)
            case GetBudgets():
                return await loop.run_in_executor(self._thread, self._store.budgets)
            case GetJournalFolder():
                return str(self._folder)
            case _:
                raise NotImplementedError(f"The ledger takes no control message of type {type(body).__name__}.")

    @property
    def _folder(self) -> Path:
        return journal_folder(self._store.database.url)

    async def _fold_often(self) -> None:
        while True:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._fold)
            await asyncio.sleep(_FOLD_S)

    def _fold(self) -> None:
        try:
            fold(self._folder, self._store.keep_journal)
        except (AgentSystemError, OSError) as error:
            _log.warning("journals of model calls in %s stay for later: %s", self._folder, error)

    def _keep_spans(self, rows: tuple[dict[str, Any], ...]) -> None:
        if self._spans is None:
            self._spans = SpanStore(self._store.database)
        self._spans.write(rows)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - closed for every reason
        """Keep the journals of processes that have ended, and close the store."""
        if self._folding is not None:
            self._folding.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._fold)
        self._thread.shutdown()
        self._store.database.close()
