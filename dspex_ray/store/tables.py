"""The tables of programs: their versions, and every model call made for them."""

from __future__ import annotations

import sqlalchemy as sa

from dspex_agents.database import Migration

_first = sa.MetaData()
versions = sa.Table(
    "versions",
    _first,
    sa.Column("program", sa.String(300), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("parent", sa.Integer),
    sa.Column("run_id", sa.String(100)),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)
_first_calls = sa.Table(
    "calls",
    _first,
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
_ADDED = (
    sa.Column("module", sa.String(300)),
    sa.Column("agent", sa.String(200)),
    sa.Column("tenant", sa.String(200)),
    sa.Column("holder", sa.String(100)),
    sa.Column("reserved_usd", sa.Float),
    sa.Column("reserved_tokens", sa.Integer),
)
calls = _first_calls.to_metadata(sa.MetaData())
for _column in _ADDED:
    calls.append_column(_column)


def _add_call_columns(connection: sa.Connection) -> None:
    for column in _ADDED:
        connection.execute(
            sa.text(f"ALTER TABLE calls ADD COLUMN {sa.schema.CreateColumn(column).compile(connection)}")
        )


MIGRATIONS = (
    Migration("program-001-versions-and-calls", _first.create_all),
    Migration("program-002-call-tags", _add_call_columns),
)
