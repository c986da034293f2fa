"""The tables of requests and of the feedback on them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from dspex_agents.database import Migration

_metadata = sa.MetaData()


def _key() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("tenant", sa.String(100), primary_key=True),
        sa.Column("endpoint", sa.String(200), primary_key=True),
        sa.Column("request_id", sa.String(200), primary_key=True),
    )


requests = sa.Table(
    "served_requests",
    _metadata,
    *_key(),
    sa.Column("version", sa.String(100), primary_key=True),  # copies for shadows share their request's id
    sa.Column("arm", sa.String(100), nullable=False),
    sa.Column("unit", sa.String(40), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("latency_s", sa.Float, nullable=False),
    sa.Column("cost_usd", sa.Float),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("error", sa.String(100)),
    sa.Column("shadow", sa.Boolean, nullable=False),
    sa.Column("reason", sa.String(100)),
    sa.Column("revision", sa.Integer),
    sa.Column("input", sa.Text),
    sa.Column("output", sa.Text),
    sa.Column("reward", sa.Float),  # what feedback says now
    sa.Column("correction", sa.Text),
    sa.Index("ix_served_requests_endpoint_at", "endpoint", "at"),
    sa.Index("ix_served_requests_at", "at"),
)
feedback = sa.Table(
    "request_feedback",
    _metadata,
    *_key(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("reward", sa.Float),
    sa.Column("correction", sa.Text),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
)
salts = sa.Table(
    "request_salts",
    _metadata,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("salt", sa.String(64), nullable=False),
)
REQUEST_MIGRATIONS = (Migration("requests-001-requests-and-feedback", _metadata.create_all),)
WRITTEN = tuple(column.name for column in requests.columns if column.name not in ("reward", "correction"))
"""The columns that a request is written with."""
