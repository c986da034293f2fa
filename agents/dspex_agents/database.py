"""One database for all floors: SQLite in WAL mode by default, PostgreSQL by URL, with migrations."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from dspex_agents.errors import StoreError

_LOOK_S = 0.01
BUSY_TIMEOUT_S = 30.0
_FORMS = "Use sqlite:///file.db or postgresql://user:password@host/database."
_migrations = sa.Table(
    "schema_migrations",
    sa.MetaData(),
    sa.Column("id", sa.String(100), primary_key=True),
    sa.Column("applied_at", sa.DateTime, server_default=sa.func.now(), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema; `apply` runs once, in a transaction.

    `id` is `<owner>-<number>-<what>` and is never reused: owners migrate one database side by side, each its own steps.
    """

    id: str
    apply: Callable[[Connection], None]


class Database:
    """Connections to one database. Pickles by its URL; every process opens its own connections."""

    def __init__(self, url: str) -> None:
        """Open the database at an SQLAlchemy URL, or at a file path, which means SQLite.

        Raises StoreError for a URL that cannot be read or a driver that is not installed.
        """
        self.url = url if "://" in url else f"sqlite:///{url}"
        self.engine = _engine(self.url)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is SQLite (one writer at a time)."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a write transaction: committed at the end, rolled back if the body raises."""
        with self._explained(), self.engine.connect() as connection:
            connection.info["write"] = True  # read by `_begin` below
            try:
                with connection.begin():
                    yield connection
            finally:
                connection.info.pop("write", None)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one consistent state and keeps no write lock."""
        with self._explained(), self.engine.connect() as connection, connection.begin():
            yield connection

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Apply the migrations that this database has not had yet, in order, each once even with many processes.

        `migrations` are all of their owner's. Raises StoreError when two share an id, and when the database has had
        one of the same owner that is not among them (a newer version of the program made it), or tables of such names
        that are not ours.
        """
        ids = [m.id for m in migrations]
        if len(set(ids)) != len(ids):
            raise StoreError(f"Two migrations share an id: {sorted(i for i in ids if ids.count(i) > 1)}.")
        with self.transaction() as connection:
            if not self.is_sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(727041)"))  # one migrating process at a time
            _migrations.create(connection, checkfirst=True)
            done = set(connection.scalars(sa.select(_migrations.c.id)))
            self._refuse_newer(done, ids)
            for migration in migrations:
                if migration.id not in done:
                    self._apply(migration, connection)
                    connection.execute(_migrations.insert().values(id=migration.id))

    def _apply(self, migration: Migration, connection: Connection) -> None:
        try:
            migration.apply(connection)
        except DatabaseError as error:
            reason = str(error.orig)
            if "already exists" not in reason:
                raise
            raise StoreError(
                f"{self!r} was not made by dspex_ray: it has tables or columns of the same names ({reason.strip()}). "
                "Name another database in DSPEX_STORE."
            ) from error

    def _refuse_newer(self, done: set[str], ids: Sequence[str]) -> None:
        owners = {_owner(id_) for id_ in ids}
        if unknown := sorted(id_ for id_ in done - set(ids) if _owner(id_) in owners):
            raise StoreError(
                f"{self!r} was made by a newer version of dspex_ray: it has had the migration {unknown[-1]!r}, which "
                f"this version does not know. Upgrade dspex_ray, or name another database in DSPEX_STORE."
            )

    def close(self) -> None:
        """Close every connection of this process."""
        self.engine.dispose()

    def __reduce__(self) -> tuple[type[Database], tuple[str]]:
        """Pickle by URL: connections never cross processes."""
        return type(self), (self.url,)

    def __repr__(self) -> str:
        return f"Database({make_url(self.url).render_as_string(hide_password=True)!r})"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise StoreError(self._advice(str(error.orig))) from error
        except DatabaseError as error:
            reason = str(error.orig)
            if "file is not a database" in reason:
                raise StoreError(f"{self!r} is not a SQLite database; name another file in DSPEX_STORE.") from error
            if "malformed" in reason:
                raise StoreError(f"{self!r} is damaged ({reason}); restore it or name another file.") from error
            raise

    def _advice(self, reason: str) -> str:
        if "locked" in reason:
            return f"{self!r} stayed locked for {BUSY_TIMEOUT_S:.0f} s by another process; end it or use PostgreSQL."
        told = " ".join(reason.split()).rstrip(".")
        check = "that the file and its folder can be written" if self.is_sqlite else "that the server runs"
        return f"{self!r} cannot be used: {told}. Check the address in DSPEX_STORE or --store, and {check}."


def _owner(migration_id: str) -> str:
    return migration_id.partition("-")[0]


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(url, parsed.database)
        if parsed.get_backend_name() != "postgresql":
            raise StoreError(f"DSPEX_STORE names a {parsed.get_backend_name()} database. {_FORMS}")
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, pool_pre_ping=True)
    except NoSuchModuleError as error:
        raise StoreError(f"No driver for this database ({error}). {_FORMS}") from error
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise StoreError(f"DSPEX_STORE is no database URL ({error}). {_FORMS}") from error
    except ModuleNotFoundError as error:
        raise StoreError(f"The driver {error.name!r} is missing: pip install 'dspex-ray[postgres]'.") from error


def _sqlite_engine(url: str, path: str | None) -> Engine:
    if path and path != ":memory:":
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"The folder of the store {path!r} cannot be made: {error.strerror}.") from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(connection: Any, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # the `begin` event below decides when a transaction starts
    cursor = connection.cursor()
    _enter_wal(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")  # in WAL mode: safe against kill -9, may lose the tail on power loss
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _enter_wal(cursor: Any) -> None:
    """Switch to WAL. SQLite does not wait here as elsewhere: who meets another one at it is told "locked" at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def _begin(connection: Connection) -> None:
    # BEGIN IMMEDIATE takes the write lock at once; a later upgrade from a read lock fails without waiting
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("write") else "BEGIN")
