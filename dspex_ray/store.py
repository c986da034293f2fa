"""The store of programs: every version that an optimisation made, and every model call that was paid for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from dspex_agents.database import Database, Migration
from dspex_agents.errors import StoreError as DatabaseError
from dspex_agents.settings import Settings
from dspex_coordination.canonical import canonical_json
from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError

DEFAULT_PATH = ".dspex/dspex.db"
_metadata = sa.MetaData()
_versions = sa.Table(
    "versions",
    _metadata,
    sa.Column("program", sa.String(300), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("parent", sa.Integer),
    sa.Column("run_id", sa.String(100)),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)
_calls = sa.Table(
    "calls",
    _metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("program", sa.String(300), nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("cached_tokens", sa.Integer, nullable=False),
    sa.Column("cost_usd", sa.Float),
    sa.Column("latency_s", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("run_id", sa.String(100), index=True),
    sa.Column("trial", sa.Integer),
    sa.Column("row", sa.Integer),
    sa.Column("version", sa.String(50)),
    sa.Column("request_id", sa.String(200)),
)
MIGRATIONS = (Migration("program-001-versions-and-calls", _metadata.create_all),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One kept program: what it is (`state`, see `Program.state`) and how it came to be (`facts`, JSON).

    `hash` is the SHA-256 of the state's canonical JSON; a state that does not match it is refused when it is loaded.
    """

    program: str
    number: int
    hash: str
    created_at: float
    parent: int | None
    run_id: str | None
    facts: Mapping[str, Any]
    state: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything but the state."""
        return {
            "program": self.program,
            "version": self.number,
            "hash": self.hash,
            "created_at": self.created_at,
            "parent": self.parent,
            "run_id": self.run_id,
            **self.facts,
        }


@dataclass(frozen=True, slots=True)
class CallTotals:
    """Sums over model calls; `unpriced` ones have no known price and are not in `cost_usd`."""

    calls: int
    failed: int
    unpriced: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


class Store:
    """Versions and calls in one database. Migrates it when opened; pickles by the database's URL."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.migrate(MIGRATIONS)

    def __reduce__(self) -> tuple[type[Store], tuple[Database]]:
        """Pickle by the database, which pickles by its URL."""
        return type(self), (self.database,)

    # versions -----------------------------------------------------------------------------------------------------
    def save_version(
        self,
        state: Mapping[str, Any],
        facts: Mapping[str, Any],
        *,
        now: float,
        parent: int | None = None,
        run_id: str | None = None,
    ) -> Version:
        """Keep a program's state under the next number of its path and return the version.

        A run saves one version: a second save of the same run and state returns the first.
        """
        program, digest = str(state["program"]), state_hash(state)
        with self.database.transaction() as connection:
            if not self.database.is_sqlite:
                connection.execute(sa.text("LOCK TABLE versions IN EXCLUSIVE MODE"))  # one next number at a time
            mine = _versions.c.program == program
            known = connection.execute(
                sa.select(_versions.c.number).where(mine, _versions.c.run_id == run_id, _versions.c.hash == digest)
            ).scalar()
            if known is not None and run_id is not None:
                return self._load(connection, program, known)
            last = connection.execute(sa.select(sa.func.max(_versions.c.number)).where(mine)).scalar()
            number = (last or 0) + 1
            connection.execute(
                _versions.insert().values(
                    program=program,
                    number=number,
                    hash=digest,
                    created_at=now,
                    parent=parent,
                    run_id=run_id,
                    facts=json.dumps(dict(facts)),
                    state=canonical_json(dict(state)),
                )
            )
            return self._load(connection, program, number)

    def versions(self, program: str | None = None) -> list[Version]:
        """Return the versions of a program, or of all, oldest first, without their states."""
        columns = [column for column in _versions.c if column.name != "state"]
        query = sa.select(*columns).order_by(_versions.c.program, _versions.c.number)
        if program is not None:
            query = query.where(_versions.c.program == program)
        with self.database.read() as connection:
            return [_version(dict(row._mapping)) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name

    def version(self, program: str, which: str | int = "latest") -> Version:
        """Return one version with its state: a number, or `latest`.

        Raises UnknownNameError if it is not there, UsageError if the store holds none at all.
        """
        known = [version.number for version in self.versions(program)]
        if not known:
            others = {version.program for version in self.versions()}
            if others:
                raise UnknownNameError("program with versions", program, others)
            raise UsageError(
                f"{self.database!r} holds no versions yet. Make one with `dspex optimize {program} --data ...`, or "
                f"leave the version out to use the untuned program."
            )
        number = known[-1] if str(which) == "latest" else next((n for n in known if str(n) == str(which)), None)
        if number is None:
            raise UnknownNameError(f"version of {program}", str(which), ["latest", *map(str, known)])
        with self.database.read() as connection:
            return self._load(connection, program, number)

    def _load(self, connection: Connection, program: str, number: int) -> Version:
        query = sa.select(_versions).where(_versions.c.program == program, _versions.c.number == number)
        row = connection.execute(query).one()
        version = _version(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name
        if version.state is None or state_hash(version.state) != version.hash:
            raise ConfigurationError(
                f"Version {number} of {program} in the store was changed after it was saved: its content does not "
                f"match its hash. Use another version or optimise again."
            )
        return version

    # calls --------------------------------------------------------------------------------------------------------
    def record_calls(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep model calls; one that is kept already (same id) is passed over."""
        with self.database.transaction() as connection:
            insert_calls(connection, rows)

    def totals(self, *, program: str | None = None, run_id: str | None = None) -> CallTotals:
        """Return the sums over all calls, or those of one program path or run."""
        c = _calls.c
        query = sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(sa.case((c.status == "error", 1), else_=0)), 0),
            sa.func.coalesce(sa.func.sum(sa.case((c.cost_usd.is_(None), 1), else_=0)), 0),
            sa.func.coalesce(sa.func.sum(c.prompt_tokens), 0),
            sa.func.coalesce(sa.func.sum(c.completion_tokens), 0),
            sa.func.coalesce(sa.func.sum(c.cost_usd), 0.0),
        )
        for column, value in ((c.program, program), (c.run_id, run_id)):
            if value is not None:
                query = query.where(column == value)
        with self.database.read() as connection:
            calls, failed, unpriced, prompt, completion, cost = connection.execute(query).one()
            return CallTotals(int(calls), int(failed), int(unpriced), int(prompt), int(completion), float(cost))


def open_store(url: str | None = None, settings: Settings | None = None) -> Store:
    """Open the store at `url`, else at `DSPEX_STORE`, else the file `.dspex/dspex.db` in the current directory.

    Raises ConfigurationError when it cannot be used.
    """
    chosen = url or (settings or Settings.from_env()).store or DEFAULT_PATH
    if chosen.removeprefix("sqlite://").strip("/") in ("", ":memory:"):
        raise ConfigurationError(
            f"The store cannot be in memory ({chosen!r}): every process would see one of its own. Name a file."
        )
    try:
        return Store(Database(_absolute(chosen)))
    except DatabaseError as error:
        raise ConfigurationError(str(error)) from error


def _absolute(url: str) -> str:
    """Return the URL with a SQLite file's full path: other processes open it from other folders."""
    path = url.removeprefix("sqlite:///")
    return url if "://" in path else f"sqlite:///{Path(path).expanduser().absolute()}"


def insert_calls(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert model calls within the caller's transaction, passing over ids that are there."""
    values = [{name: _storable(name, value) for name, value in row.items()} for row in rows]
    if not values:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(_calls).on_conflict_do_nothing(index_elements=["id"]), values)


def _storable(column: str, value: Any) -> Any:
    """Return text as every database takes it; one odd reply of a provider must not keep a whole batch out."""
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return text[: getattr(_calls.c[column].type, "length", None)]


def state_hash(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a state's canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(dict(state)).encode()).hexdigest()


def _version(row: Mapping[str, Any]) -> Version:
    return Version(
        program=row["program"],
        number=row["number"],
        hash=row["hash"],
        created_at=row["created_at"],
        parent=row["parent"],
        run_id=row["run_id"],
        facts=json.loads(row["facts"]),
        state=json.loads(row["state"]) if "state" in row else None,
    )
