"""The tables of programs: their versions, and every model call made for them."""

from __future__ import annotations

import sqlalchemy as sa

from dspex_agents.database import Migration

_metadata = sa.MetaData()
versions = sa.Table(
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
calls = sa.Table(
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
