"""Tracing over several processes: what one tells another when it starts it, and where spans are written."""

from __future__ import annotations

import asyncio
from typing import Any

from dspex_agents import AgentContext
from dspex_ray.calls.ledger_agent import LEDGER, RecordSpans
from dspex_ray.store import Store
from dspex_ray.tracing.process import PROCESS, active
from dspex_ray.tracing.settings import TracingSettings
from dspex_ray.tracing.writer import WRITER, Sink, SpanRow, store_sink

_TIMEOUT_S = 10.0


def settings_to_send() -> TracingSettings:
    """Return how another process is to trace: as this one does, as far as that can be sent."""
    active()  # the environment, too, is that of this process
    return TracingSettings() if PROCESS.settings is None else PROCESS.settings.portable()


def join(settings: TracingSettings, sink: Sink) -> None:
    """Trace as the process does that started this one; spans for the store go to `sink`."""
    WRITER.use(sink)
    if PROCESS.settings != settings:
        PROCESS.use(settings)


def keep_in(store: Store) -> None:
    """Write the spans of this process to this store from now on, if they are for a store at all."""
    active()
    if PROCESS.settings is not None and PROCESS.settings.mode == "store":
        WRITER.flush(_TIMEOUT_S)  # what has ended by now is of another store
        WRITER.use(store_sink(store))


class LedgerSpans:
    """A sink that sends spans to the ledger agent of a system; made on the loop of an agent of it."""

    def __init__(self, context: AgentContext) -> None:
        self._context, self._loop = context, asyncio.get_running_loop()

    def __call__(self, rows: list[SpanRow]) -> None:
        """Return once the ledger has them. Raises the MessageError of the question; not to be called on the loop."""
        asked = self._ask(tuple(rows))
        try:
            answer = asyncio.run_coroutine_threadsafe(asked, self._loop)
        except RuntimeError:  # the loop is closed
            asked.close()
            raise
        answer.result(_TIMEOUT_S + 1.0)

    async def _ask(self, rows: tuple[dict[str, Any], ...]) -> None:
        await self._context.ask(LEDGER, RecordSpans(rows), timeout_s=_TIMEOUT_S, retry_safe=True)
