"""The ledger agent: the one writer of model calls of a system, on the node where the store is."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dspex_agents import Agent
from dspex_ray.store import CallTotals, Store, Version
from dspex_ray.store.spans import SpanStore

LEDGER = "ledger"


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


class LedgerAgent(Agent):
    """Writes calls to the store and reads versions from it, one after another, off the event loop."""

    concurrency = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._spans: SpanStore | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

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
            case _:
                raise NotImplementedError(f"The ledger takes no message of type {type(body).__name__}.")

    def _keep_spans(self, rows: tuple[dict[str, Any], ...]) -> None:
        if self._spans is None:
            self._spans = SpanStore(self._store.database)
        self._spans.write(rows)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - closed for every reason
        """Close the store."""
        self._thread.shutdown()
        self._store.database.close()
