"""`SweepStore`: the tables of sweeps, their events and their rows, on any `Database`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from dspex_agents.database import Database, Migration
from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import JournalError, UnknownSweepError, near_matches
from dspex_coordination.sweep.record import Event, RecordedRow, SweepRecord
from dspex_coordination.sweep.result import SweepStatus
from dspex_coordination.sweep.work import RowResult

_metadata = sa.MetaData()

sweeps = sa.Table(
    "sweeps",
    _metadata,
    sa.Column("run_id", sa.String(100), primary_key=True),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
)
events = sa.Table(
    "sweep_events",
    _metadata,
    sa.Column("run_id", sa.String(100), sa.ForeignKey("sweeps.run_id"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("trial", sa.Integer, nullable=True),
    sa.Column("data", sa.Text, nullable=False),
)
rows = sa.Table(
    "sweep_rows",
    _metadata,
    sa.Column("run_id", sa.String(100), sa.ForeignKey("sweeps.run_id"), primary_key=True),
    sa.Column("trial", sa.Integer, primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("score", sa.Float, nullable=True),
    sa.Column("output", sa.Text, nullable=False),
    sa.Column("cost_usd", sa.Float, nullable=False),
    sa.Column("latency_s", sa.Float, nullable=False),
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("worker", sa.String(200), nullable=False),
)


def _create_tables(connection: Connection) -> None:
    _metadata.create_all(connection, tables=[sweeps, events, rows])  # later tables come with their own migration


SWEEP_MIGRATIONS = (Migration("coordination-0001-sweeps", _create_tables),)


class SweepStore:
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
            "fingerprint": json.dumps(dict(fingerprint)),
            "config": json.dumps(dict(config)),
        }
        with self.database.transaction() as connection, _sole_writer(run_id):
            connection.execute(sweeps.insert().values(entry))

    def find(self, run_id: str) -> SweepRecord | None:
        """Return a sweep, or None if there is none of this id."""
        return next(iter(self._records(sweeps.c.run_id == run_id)), None)

    def load(self, run_id: str) -> SweepRecord:
        """Return a sweep. Raises UnknownSweepError with near matches."""
        record = self.find(run_id)
        if record is None:
            with self.database.read() as connection:
                known = list(connection.scalars(sa.select(sweeps.c.run_id)))
            raise UnknownSweepError(f"No sweep {run_id!r} in {self.database!r}. {near_matches(run_id, known)}")
        return record

    def list_sweeps(self) -> tuple[SweepRecord, ...]:
        """Return every sweep, the newest first."""
        return tuple(self._records(sa.true()))

    def _records(self, condition: sa.ColumnElement[bool]) -> Iterator[SweepRecord]:
        told = sa.select(sa.func.count()).where(events.c.run_id == sweeps.c.run_id, events.c.kind == "tell")
        mine = rows.c.run_id == sweeps.c.run_id
        query = (
            sa.select(
                sweeps,
                told.scalar_subquery().label("trials"),
                sa.select(sa.func.count()).where(mine).scalar_subquery().label("rows"),
                sa.select(sa.func.sum(rows.c.cost_usd)).where(mine).scalar_subquery().label("cost_usd"),
            )
            .where(condition)
            .order_by(sweeps.c.created_at.desc(), sweeps.c.run_id)
        )
        with self.database.read() as connection:
            found = connection.execute(query).all()
        for row in found:
            yield SweepRecord(
                run_id=row.run_id,
                status=row.status,
                created_at=row.created_at,
                updated_at=row.updated_at,
                fingerprint=json.loads(row.fingerprint),
                config=json.loads(row.config),
                trials=row.trials,
                rows=row.rows,
                cost_usd=row.cost_usd or 0.0,
            )

    def events(self, run_id: str) -> list[Event]:
        """Return the journal of a sweep in order. Raises JournalError if an entry is missing."""
        query = sa.select(events).where(events.c.run_id == run_id).order_by(events.c.seq)
        with self.database.read() as connection:
            found = connection.execute(query).all()
        if [row.seq for row in found] != list(range(len(found))):
            raise JournalError(f"The journal of sweep {run_id!r} has gaps; it cannot be resumed.")
        return [Event(row.kind, row.trial, json.loads(row.data)) for row in found]

    def rows(self, run_id: str) -> list[RecordedRow]:
        """Return every evaluated row of a sweep, by trial and row."""
        query = sa.select(rows).where(rows.c.run_id == run_id).order_by(rows.c.trial, rows.c.row)
        with self.database.read() as connection:
            found = connection.execute(query).all()
        return [
            RecordedRow(
                r.trial, RowResult(r.row, r.score, json.loads(r.output), r.cost_usd, r.latency_s, r.error), r.worker
            )
            for r in found
        ]

    def set_status(self, run_id: str, status: SweepStatus, now: float) -> None:
        """Change the status of a sweep."""
        change = sweeps.update().where(sweeps.c.run_id == run_id).values(status=status, updated_at=now)
        with self.database.transaction() as connection:
            connection.execute(change)

    def append(
        self,
        connection: Connection,
        run_id: str,
        seq: int,
        now: float,
        *,
        entries: Sequence[Event],
        results: Sequence[RecordedRow],
    ) -> None:
        """Write rows and events, the first event at `seq`, in the caller's transaction.

        Raises JournalError if another process has written there: two drivers of one sweep.
        """
        with _sole_writer(run_id):
            if results:
                connection.execute(rows.insert(), [_row(run_id, one) for one in results])
            if entries:
                numbered = enumerate(entries, start=seq)
                connection.execute(events.insert(), [_event(run_id, number, now, entry) for number, entry in numbered])
            connection.execute(sweeps.update().where(sweeps.c.run_id == run_id).values(updated_at=now))


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
        "error": None if result.error is None else result.error.replace("\0", "\\0"),  # PostgreSQL's text has no NUL
        "worker": recorded.worker,
    }


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
