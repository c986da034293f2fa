"""`CallMeter`: what a process does before and after each model call of a ledger."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dspex_agents.ids import IdSource
from dspex_ray.budgets.gate import BudgetGate, Reservation, taken_by
from dspex_ray.calls.journal import CallJournal
from dspex_ray.calls.record import CallRecord, Reserved
from dspex_ray.lm.base import LM, LMRequest

_LONGEST_HOST: Final = 40

_log = logging.getLogger(__name__)


class CallMeter:
    """Admits calls within budgets, writes them to the journal before and after, and hands ended ones to `keep`."""

    def __init__(
        self, gate: BudgetGate, journal: CallJournal | None, keep: Callable[[CallRecord], None] | None = None
    ) -> None:
        self.gate, self.journal, self._keep = gate, journal, keep

    @property
    def holder(self) -> str:
        """The process, as the ledger names it."""
        return self.gate.holder

    async def admit(self, intent: CallRecord, lm: LM, request: LMRequest) -> Reservation | None:
        """Reserve what the call may take and note that it is about to be sent; see `Meter`."""
        reservation = await self.gate.admit(intent, lm, request)
        if self.journal is not None:
            row = intent.as_row()
            if reservation is not None:
                row.update(reserved_usd=reservation.usd, reserved_tokens=reservation.tokens)
            self.journal.intend(row)
        return reservation

    def ended(self, record: CallRecord, reserved: Reserved | None) -> None:
        """Settle what was reserved and note how the call ended."""
        if isinstance(reserved, Reservation):
            self.gate.settle(reserved, taken_by(record))
        if self.journal is not None:
            self.journal.outcome(record.as_row())
        if self._keep is not None:
            self._keep(record)


def new_holder(ids: IdSource) -> str:
    """Return a name for this process that no other has: its machine, its number and something unique."""
    host = socket.gethostname().partition(".")[0][:_LONGEST_HOST]
    return ids.new(f"{host}-{os.getpid()}")


def begun_journal(folder: Path, holder: str, closed: Callable[[], None] | None = None) -> CallJournal | None:
    """Return a new journal; None, with a line in the log, where none can be written."""
    try:
        return CallJournal(folder, holder, closed)
    except OSError as error:
        _log.warning("no journal of model calls: %s cannot be written (%s); a kill would lose calls", folder, error)
        return None
