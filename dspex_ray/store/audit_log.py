"""The audit record in the store."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_ray.access.audit import Action, AuditEntry, Head, entry

_metadata = sa.MetaData()
_entries = sa.Table(
    "audit_entries",
    _metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("action", sa.String(200), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("previous", sa.String(64), nullable=False, unique=True),  # no two entries follow the same one
    sa.Column("hash", sa.String(64), nullable=False),
)
_PAGE = 1000
_REFUSED = "entries of the audit record are never changed"
_SQLITE = [
    f"CREATE TRIGGER audit_entries_{event.lower()} BEFORE {event} ON audit_entries "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    for event in ("UPDATE", "DELETE")
]
_BODY = f"BEGIN RAISE EXCEPTION '{_REFUSED}'; END"
_EVENTS = "UPDATE OR DELETE OR TRUNCATE"
_POSTGRES = [
    f"CREATE FUNCTION audit_kept() RETURNS trigger AS $$ {_BODY} $$ LANGUAGE plpgsql",
    f"CREATE TRIGGER audit_kept BEFORE {_EVENTS} ON audit_entries EXECUTE FUNCTION audit_kept()",
]


def create_audit_tables(connection: Connection) -> None:
    """Create the table and the triggers that refuse to change it."""
    _metadata.create_all(connection)
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES:
        connection.execute(sa.text(statement))


def append(connection: Connection, action: Action, at: float) -> AuditEntry:
    """Keep an action, in the transaction that does what it tells: both are kept, or neither.

    Call it last there: other writers wait from here to the end of the transaction. Raises UsageError for details that
    are no JSON or too long.
    """
    if connection.dialect.name != "sqlite":  # SQLite's write transactions exclude each other anyway
        connection.execute(sa.text("LOCK TABLE audit_entries IN EXCLUSIVE MODE"))
    kept = entry(head(connection), action, at)
    connection.execute(_entries.insert().values({name: getattr(kept, name) for name in kept.__slots__}))
    return kept


def head(connection: Connection) -> Head:
    """Return the end of the chain."""
    last = sa.select(_entries.c.number, _entries.c.hash).order_by(_entries.c.number.desc()).limit(1)
    row = connection.execute(last).first()
    return Head() if row is None else Head(row.number, row.hash)


def entries(connection: Connection) -> Iterator[AuditEntry]:
    """Yield all entries in order, page by page."""
    last = None
    while True:
        query = sa.select(_entries).order_by(_entries.c.number).limit(_PAGE)
        page = connection.execute(query if last is None else query.where(_entries.c.number > last)).mappings().all()
        yield from (AuditEntry(**row) for row in page)
        if len(page) < _PAGE:
            return
        last = page[-1]["number"]


def latest(
    connection: Connection, count: int, *, action: str | None = None, subject: str | None = None, by: str | None = None
) -> list[AuditEntry]:
    """Return the last `count` entries that fit, oldest first; `action` is a whole one or its beginning, as `key`."""
    query = sa.select(_entries).order_by(_entries.c.number.desc()).limit(count)
    if action is not None:
        begins = _entries.c.action.startswith(f"{action}.", autoescape=True)
        query = query.where(sa.or_(_entries.c.action == action, begins))
    if subject is not None:
        query = query.where(_entries.c.subject == subject)
    if by is not None:
        query = query.where(_entries.c.by == by)
    return [AuditEntry(**row) for row in reversed(connection.execute(query).mappings().all())]
