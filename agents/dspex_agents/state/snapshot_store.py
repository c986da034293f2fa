"""`SnapshotStore`: the latest snapshot of each agent in the database, behind a fence against late incarnations."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from dspex_agents.database import Database, Migration
from dspex_agents.errors import SpecError
from dspex_agents.state.snapshot import FencedError, Snapshot, SnapshotError, json_text

_MAX_BYTES = 16 * 1024 * 1024
_MAX_NAME = 200
_THREADS = 8
_metadata = sa.MetaData()
_snapshots = sa.Table(
    "agent_snapshots",
    _metadata,
    sa.Column("system", sa.String(_MAX_NAME), primary_key=True),
    sa.Column("partition", sa.String(_MAX_NAME), primary_key=True),
    sa.Column("agent", sa.String(_MAX_NAME), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("fields", sa.Text, nullable=True),
    sa.Column("saved_at", sa.Float, nullable=False),
)
_KEY = ("system", "partition", "agent")


def _create_table(connection: Connection) -> None:
    _metadata.create_all(connection, tables=[_snapshots])


SNAPSHOT_MIGRATIONS = (Migration("snapshots-001-latest", _create_table),)


class SnapshotStore:
    """The snapshots of one system's agents; `partition` is its tenant. Every method is one transaction and blocks.

    Makes its table on first use. Pickles by its address; a process has one store for each address, so that many agents
    share a few connections. Raises StoreError when the database cannot be used.

    `threads` is where an event loop has the calls run: one thread for SQLite, which has one writer. They are the
    store's own, so that no blocking work of an agent keeps its state from being saved.
    """

    def __init__(self, database: Database, system: str, partition: str = "") -> None:
        if not system or max(map(len, (system, partition))) > _MAX_NAME:
            raise SpecError(f"snapshots: system must be 1 to {_MAX_NAME} letters, got {system!r} ({partition!r}).")
        self.system, self.partition = system, partition
        self._database = database
        self.threads = ThreadPoolExecutor(1 if database.is_sqlite else _THREADS, thread_name_prefix="dspex-snapshots")
        self._is_ready, self._making_ready = False, threading.Lock()

    def claim(self, agent: str, epoch: int, at: float) -> Snapshot | None:
        """Take the agent's state over for this incarnation and return the latest snapshot, None if there is none.

        From now on no earlier epoch may claim or save. Raises FencedError when a later one has claimed it.
        """
        first = {"epoch": epoch, "revision": 0, "fields": None, "saved_at": at}
        with self._transaction() as connection:
            row = self._put(connection, agent, epoch, first, {"epoch": epoch})
        return _snapshot(row)

    def save(self, agent: str, epoch: int, fields: Mapping[str, Any], at: float) -> int:
        """Store the fields (JSON values) in place of those before and return the revision.

        Raises FencedError when a later incarnation has claimed the agent's state, SnapshotError for what is no JSON
        and for more than 16 MiB of it.
        """
        text = json_text(fields)
        if (size := len(text.encode())) > _MAX_BYTES:
            raise SnapshotError(f"The state of agent {agent!r} is {size} bytes of JSON, more than {_MAX_BYTES}.")
        new = {"epoch": epoch, "fields": text, "saved_at": at}
        with self._transaction() as connection:
            first = {**new, "revision": 1}
            row = self._put(connection, agent, epoch, first, {**new, "revision": _snapshots.c.revision + 1})
        return int(row.revision)

    def load(self, agent: str) -> Snapshot | None:
        """Return the latest snapshot without claiming it, None if there is none."""
        self._prepare()
        with self._database.read() as connection:
            row = connection.execute(sa.select(_snapshots).where(*self._is(agent))).one_or_none()
        return None if row is None else _snapshot(row)

    def forget(self, agent: str) -> bool:
        """Throw the agent's snapshot away; False when there was none. The fence stays."""
        with self._transaction() as connection:
            there = sa.and_(*self._is(agent), _snapshots.c.fields.is_not(None))
            result = connection.execute(sa.update(_snapshots).where(there).values(fields=None))
        return bool(result.rowcount)

    def unfence(self, agent: str) -> bool:
        """Let any incarnation claim the agent's state again; False when nobody has ever claimed it.

        For when a machine's clock was set back: epochs follow the clock. Make sure that the later one is dead.
        """
        with self._transaction() as connection:
            result = connection.execute(sa.update(_snapshots).where(*self._is(agent)).values(epoch=0))
        return bool(result.rowcount)

    def close(self) -> None:
        """Close this process's connections; the next call opens new ones."""
        self._database.close()

    def __reduce__(self) -> tuple[Any, tuple[str, str, str]]:
        """Pickle by address."""
        return _store_of_process, (self._database.url, self.system, self.partition)

    def __repr__(self) -> str:
        return f"SnapshotStore({self._database!r}, {self.system!r}, {self.partition!r})"

    def _put(
        self, connection: Connection, agent: str, epoch: int, first: Mapping[str, Any], then: Mapping[str, Any]
    ) -> sa.Row[Any]:
        """Insert the row, or update the one there unless its epoch is later; return it as it is now."""
        insert = (sqlite.insert if self._database.is_sqlite else postgresql.insert)(_snapshots)
        key = dict(zip(_KEY, (self.system, self.partition, agent), strict=True))
        statement = insert.values(**key, **first).on_conflict_do_update(
            index_elements=_KEY, set_=then, where=_snapshots.c.epoch <= epoch
        )
        row = connection.execute(statement.returning(*_snapshots.c)).one_or_none()
        if row is None:
            stored = connection.scalar(sa.select(_snapshots.c.epoch).where(*self._is(agent)))
            raise FencedError(agent, epoch, int(stored or 0))
        return row

    def _is(self, agent: str) -> tuple[sa.ColumnElement[bool], ...]:
        table = _snapshots.c
        return table.system == self.system, table.partition == self.partition, table.agent == agent

    def _transaction(self) -> AbstractContextManager[Connection]:
        self._prepare()
        return self._database.transaction()

    def _prepare(self) -> None:
        with self._making_ready:
            if not self._is_ready:
                self._database.migrate(SNAPSHOT_MIGRATIONS)
                self._is_ready = True


@functools.lru_cache(maxsize=1024)
def _store_of_process(url: str, system: str, partition: str) -> SnapshotStore:
    return SnapshotStore(_database_of_process(url), system, partition)


@functools.lru_cache(maxsize=64)
def _database_of_process(url: str) -> Database:
    return Database(url)


def _snapshot(row: sa.Row[Any]) -> Snapshot | None:
    if row.fields is None:
        return None
    return Snapshot(row.agent, row.epoch, row.revision, row.saved_at, json.loads(row.fields))
