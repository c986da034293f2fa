"""The tables of versions beside their states: a seal over what is said of one, the moves of labels, rows of data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Migration
from dspex_ray.store import tables

versions = tables.versions.to_metadata(sa.MetaData())
_seal = sa.Column("seal", sa.String(64))
versions.append_column(_seal)

_metadata = sa.MetaData()
label_moves = sa.Table(
    "label_moves",
    _metadata,
    sa.Column("program", sa.String(300), primary_key=True),
    sa.Column("label", sa.String(63), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("before", sa.Integer),
    sa.Column("after", sa.Integer),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
)
data_rows = sa.Table(
    "data_rows",
    _metadata,
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(500), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
)


def seal(version: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all that is said of a version, in hex; `version` holds its columns but `facts`."""
    said = {name: version[name] for name in ("program", "number", "hash", "created_at", "parent", "run_id")}
    return hashlib.sha256(json.dumps({**said, "facts": facts}, sort_keys=True).encode()).hexdigest()


def _create(connection: Connection) -> None:
    _metadata.create_all(connection)
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES:
        connection.execute(sa.text(statement))
    connection.execute(sa.text(f"ALTER TABLE versions ADD COLUMN {sa.schema.CreateColumn(_seal).compile(connection)}"))
    columns = [column for column in versions.c if column.name not in ("state", "seal")]
    for row in connection.execute(sa.select(*columns)).mappings().all():
        mine = versions.c.program == row["program"], versions.c.number == row["number"]
        sealed = seal({str(name): value for name, value in row.items()}, json.loads(row["facts"]))
        connection.execute(versions.update().where(*mine).values(seal=sealed))


_REFUSED = "moves of labels are never changed"
_SQLITE = [
    f"CREATE TRIGGER label_moves_{event.lower()} BEFORE {event} ON label_moves "
    f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    for event in ("UPDATE", "DELETE")
]
_BODY = f"BEGIN RAISE EXCEPTION '{_REFUSED}'; END"
_POSTGRES = [
    f"CREATE FUNCTION label_moves_kept() RETURNS trigger AS $$ {_BODY} $$ LANGUAGE plpgsql",
    "CREATE TRIGGER label_moves_kept BEFORE UPDATE OR DELETE ON label_moves EXECUTE FUNCTION label_moves_kept()",
]

VERSION_MIGRATIONS = (Migration("versions-001-labels-seals-and-data-rows", _create),)
