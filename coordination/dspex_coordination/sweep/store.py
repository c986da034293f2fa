"""`SweepStore`: the tables of sweeps, their events and their rows, on any `Database`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from dspex_agents.database import Database
from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import JournalError, SweepError
from dspex_coordination.sweep.reading import SweepReader
from dspex_coordination.sweep.record import Attempt, Event, RecordedRow, RequestKind
from dspex_coordination.sweep.result import SweepStatus
from dspex_coordination.sweep.tables import SWEEP_MIGRATIONS, attempts, events, requests, rows, sweeps

__all__ = ["SWEEP_MIGRATIONS", "SweepStore"]


_NEVER = 0.0
_UNDRIVEN: dict[str, SweepStatus] = {"pause": "paused", "cancel": "cancelled", "resume": "running"}
# built once: it is written with every unit
_TOUCH = (
    sweeps.update()
    .where(sweeps.c.run_id == sa.bindparam("run"))
    .values(updated_at=sa.bindparam("now"), heartbeat_at=sa.bindparam("now"))
)


class SweepStore(SweepReader):
    """Reads and writes sweeps; makes its tables at once. Pickles by its database's URL."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate(SWEEP_MIGRATIONS)

    def create(self, run_id: str, fingerprint: Mapping[str, Any], config: Mapping[str, Any], now: float) -> None:
        """Add a running sweep. Raises JournalError if another process has just added it."""
        entry = {
            "run_id": run_id,
            "status": "running",
            "created_at": now,
            "updated_at": now,
            "heartbeat_at": now,
            "active_s": 0.0,
            "fingerprint": json.dumps(dict(fingerprint)),
            "config": json.dumps(dict(config)),
        }
        with self.database.transaction() as connection, _sole_writer(run_id):
            connection.execute(sweeps.insert().values(entry))

    def set_status(
        self, run_id: str, status: SweepStatus, now: float, note: str | None = None, *, is_driven: bool = True
    ) -> None:
        """Change the status of a sweep, and the note on why it has it."""
        change = sweeps.update().where(sweeps.c.run_id == run_id)
        beat = now if is_driven else _NEVER
        with self.database.transaction() as connection:
            connection.execute(change.values(status=status, updated_at=now, heartbeat_at=beat, note=note))

    def set_config(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Replace the configuration of a sweep."""
        change = sweeps.update().where(sweeps.c.run_id == run_id)
        with self.database.transaction() as connection:
            connection.execute(change.values(config=json.dumps(dict(config))))

    def beat(self, run_id: str, now: float, active_s: float) -> None:
        """Note that the driver lives, and how many seconds drivers have worked on the sweep by now."""
        change = sweeps.update().where(sweeps.c.run_id == run_id)
        with self.database.transaction() as connection:
            connection.execute(change.values(heartbeat_at=now, active_s=active_s))

    def request(self, run_id: str, kind: RequestKind, data: Mapping[str, Any], now: float) -> bool:
        """Ask something of a sweep, and say whether a driver is there to hear it, within a second.

        Without one it takes effect at once: a sweep that was running or paused is cancelled, paused, or free to go on.
        An extension waits for whoever resumes the sweep. `data` may give a `reason`, and the new totals `trials` and
        `budget_usd` of an extension. Raises UnknownSweepError with near matches, SweepError for totals that cannot be.
        """
        _check_totals(data)
        record = self.load(run_id)
        is_driven = record.status in ("running", "paused") and not record.is_stale(now)
        if is_driven or kind == "extend":
            entry = {"run_id": run_id, "at": now, "kind": kind, "data": canonical_json(dict(data))}
            with self.database.transaction() as connection:
                connection.execute(requests.insert().values(entry))
        elif record.status in ("running", "paused"):
            self.set_status(run_id, _UNDRIVEN[kind], now, data.get("reason"), is_driven=False)
        return is_driven

    def take_requests(self, connection: Connection, ids: Sequence[int], now: float) -> None:
        """Mark requests as heard, in the caller's transaction."""
        connection.execute(requests.update().where(requests.c.id.in_(ids)).values(taken_at=now))

    def append(
        self,
        connection: Connection,
        run_id: str,
        seq: int,
        now: float,
        *,
        entries: Sequence[Event],
        results: Sequence[RecordedRow],
        tried: Sequence[Attempt] = (),
    ) -> None:
        """Write rows, attempts and events, the first event at `seq`, in the caller's transaction.

        Raises JournalError if another process has written there: two drivers of one sweep.
        """
        with _sole_writer(run_id):
            if results:
                connection.execute(rows.insert(), [_row(run_id, one) for one in results])
            if tried:
                connection.execute(attempts.insert(), [_attempt(run_id, one) for one in tried])
            if entries:
                numbered = enumerate(entries, start=seq)
                connection.execute(events.insert(), [_event(run_id, number, now, entry) for number, entry in numbered])
            connection.execute(_TOUCH, {"run": run_id, "now": now})


def _check_totals(data: Mapping[str, Any]) -> None:
    trials, budget = data.get("trials", 1), data.get("budget_usd", 1.0)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise SweepError(f"trials must be a whole number above 0, got {trials!r}.")
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget < math.inf:
        raise SweepError(f"budget_usd must be a number above 0, got {budget!r}.")


def _row(run_id: str, recorded: RecordedRow) -> dict[str, Any]:
    result = recorded.result
    return {
        "run_id": run_id,
        "trial": recorded.trial,
        "row": result.row,
        "score": result.score,
        "output": canonical_json(result.output),
        "cost_usd": result.cost_usd,
        "latency_s": result.latency_s,
        "error": _text(result.error),
        "worker": recorded.worker,
        "measures": canonical_json(dict(result.measures)) if result.measures else None,
        "feedback": _text(result.feedback),
        "metric_cost_usd": result.metric_cost_usd,
        "trace": None if result.trace is None else canonical_json(result.trace),
        "prompt_tokens": result.prompt_tokens,
    }


def _attempt(run_id: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "number": attempt.number,
        "unit": attempt.unit,
        "trial": attempt.trial,
        "rows": attempt.rows,
        "worker": attempt.worker,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "outcome": attempt.outcome,
        "cost_usd": attempt.cost_usd,
        "calls": attempt.calls,
        "reason": _text(attempt.reason),
    }


def _text(text: str | None) -> str | None:
    return None if text is None else text.replace("\0", "\\0")  # PostgreSQL's text has no NUL


def _event(run_id: str, seq: int, now: float, event: Event) -> dict[str, Any]:
    data = canonical_json(dict(event.data))
    return {"run_id": run_id, "seq": seq, "at": now, "kind": event.kind, "trial": event.trial, "data": data}


@contextmanager
def _sole_writer(run_id: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise JournalError(
            f"Another process is writing to sweep {run_id!r}; let it finish or stop it, then resume."
        ) from error
