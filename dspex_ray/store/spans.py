"""Spans in the store: kept once each, found by run, request or trace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from dspex_agents.database import Database, Migration
from dspex_ray.store.tables import calls

_metadata = sa.MetaData()
spans = sa.Table(
    "spans",
    _metadata,
    sa.Column("trace_id", sa.String(32), primary_key=True),
    sa.Column("span_id", sa.String(16), primary_key=True),
    sa.Column("parent_id", sa.String(16)),
    sa.Column("name", sa.String(300), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("start_ns", sa.BigInteger, nullable=False, index=True),
    sa.Column("end_ns", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("run_id", sa.String(100), index=True),
    sa.Column("request_id", sa.String(200), index=True),
    sa.Column("attributes", sa.Text, nullable=False),
)
SPAN_MIGRATIONS = (Migration("spans-001-spans", _metadata.create_all),)

_NAMES = tuple(column.name for column in spans.c)
_TEXT = {name: column.type.length for name, column in spans.c.items() if isinstance(column.type, sa.String)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """One span that has ended. Times are nanoseconds since the epoch; `status` is `ok` or `error`."""

    trace_id: str
    span_id: str
    name: str
    start_ns: int
    end_ns: int
    parent_id: str | None = None
    kind: str = "INTERNAL"
    status: str = "ok"
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """How long it took, in seconds."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True, slots=True)
class TraceName:
    """By what a trace can be asked for, and when its first span began (nanoseconds since the epoch)."""

    trace_id: str
    run_id: str | None
    request_id: str | None
    start_ns: int


class SpanStore:
    """The spans of one database. Migrates it when opened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(SPAN_MIGRATIONS)

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep spans; one that is kept already is passed over."""
        values = [{name: _storable(name, row.get(name)) for name in _NAMES} for row in rows]
        if not values:
            return
        with self._database.transaction() as connection:
            dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
            insert = dialect.insert(spans).on_conflict_do_nothing(index_elements=["trace_id", "span_id"])
            connection.execute(insert, values)

    def traces_of(self, name: str) -> list[str]:
        """Return the ids of the traces of a run, a request or a trace id, the oldest first; none if it is unknown."""
        is_named = sa.or_(spans.c.run_id == name, spans.c.request_id == name, spans.c.trace_id == name)
        first = sa.func.min(spans.c.start_ns)
        query = sa.select(spans.c.trace_id).where(is_named).group_by(spans.c.trace_id).order_by(first)
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def latest(self, limit: int) -> list[TraceName]:
        """Return the traces that began last, the newest first."""
        begun = sa.func.min(spans.c.start_ns)
        c = spans.c
        query = sa.select(c.trace_id, sa.func.max(c.run_id), sa.func.max(c.request_id), begun).group_by(c.trace_id)
        with self._database.read() as connection:
            return [TraceName(*row) for row in connection.execute(query.order_by(begun.desc()).limit(limit))]

    def spans(self, traces: Sequence[str], limit: int) -> list[SpanRecord]:
        """Return the spans of traces in the order they began, at most `limit`."""
        query = sa.select(spans).where(spans.c.trace_id.in_(traces)).order_by(spans.c.start_ns, spans.c.span_id)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query.limit(limit)).mappings()]

    def count(self, traces: Sequence[str]) -> int:
        """Return how many spans these traces have."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).where(spans.c.trace_id.in_(traces))) or 0


def calls_of(database: Database, name: str, limit: int) -> list[dict[str, Any]]:
    """Return the model calls of a run or request in the order they began, at most `limit`."""
    is_named = sa.or_(calls.c.run_id == name, calls.c.request_id == name)
    query = sa.select(calls).where(is_named).order_by(calls.c.at, calls.c.id).limit(limit)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def named_in_calls(database: Database, limit: int) -> list[str]:
    """Return the runs, and the requests of none, that called models last, the last one first."""
    name = sa.func.coalesce(calls.c.run_id, calls.c.request_id)
    query = sa.select(name).where(name.is_not(None)).group_by(name).order_by(sa.func.max(calls.c.at).desc())
    with database.read() as connection:
        return list(connection.scalars(query.limit(limit)))


def _record(row: Mapping[Any, Any]) -> SpanRecord:
    known = {name: row[name] for name in ("trace_id", "span_id", "parent_id", "name", "kind", "status")}
    times = {"start_ns": row["start_ns"], "end_ns": row["end_ns"]}
    return SpanRecord(**known, **times, attributes=json.loads(row["attributes"]))


def _storable(column: str, value: Any) -> Any:
    """Return text as every database takes it; one odd span must not keep a whole batch out."""
    if column == "attributes":
        value = json.dumps(value or {}, default=str)  # escapes what is not ASCII, lone surrogates and NUL too
        return value.replace("\\u0000", "\\ufffd")
    if value is None or column not in _TEXT:
        return value
    text = str(value).replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return text[: _TEXT[column]]
