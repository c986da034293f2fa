"""The tables of sweeps as they are now, and the steps that made them so."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Migration

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
    sa.Column("heartbeat_at", sa.Float, nullable=True),  # null: written before there were heartbeats
    sa.Column("active_s", sa.Float, nullable=False),
    sa.Column("note", sa.Text, nullable=True),
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
    sa.Column("measures", sa.Text, nullable=True),  # null: none
    sa.Column("feedback", sa.Text, nullable=True),
    sa.Column("metric_cost_usd", sa.Float, nullable=False),
    sa.Column("trace", sa.Text, nullable=True),  # null: none
    sa.Column("prompt_tokens", sa.Integer, nullable=True),  # null: not known
)
attempts = sa.Table(
    "sweep_attempts",
    _metadata,
    sa.Column("run_id", sa.String(100), sa.ForeignKey("sweeps.run_id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("unit", sa.String(100), nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("worker", sa.String(200), nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float, nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("cost_usd", sa.Float, nullable=False),
    sa.Column("calls", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
)
requests = sa.Table(
    "sweep_requests",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String(100), sa.ForeignKey("sweeps.run_id"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("taken_at", sa.Float, nullable=True),
)

# the three tables of the first release, which later steps add to; a step that has run somewhere never changes
_FIRST = (
    """CREATE TABLE sweeps (
        run_id VARCHAR(100) NOT NULL, status VARCHAR(20) NOT NULL, created_at FLOAT NOT NULL,
        updated_at FLOAT NOT NULL, fingerprint TEXT NOT NULL, config TEXT NOT NULL, PRIMARY KEY (run_id))""",
    """CREATE TABLE sweep_events (
        run_id VARCHAR(100) NOT NULL REFERENCES sweeps (run_id), seq INTEGER NOT NULL, at FLOAT NOT NULL,
        kind VARCHAR(20) NOT NULL, trial INTEGER, data TEXT NOT NULL, PRIMARY KEY (run_id, seq))""",
    """CREATE TABLE sweep_rows (
        run_id VARCHAR(100) NOT NULL REFERENCES sweeps (run_id), trial INTEGER NOT NULL, "row" INTEGER NOT NULL,
        score FLOAT, output TEXT NOT NULL, cost_usd FLOAT NOT NULL, latency_s FLOAT NOT NULL, error TEXT,
        worker VARCHAR(200) NOT NULL, PRIMARY KEY (run_id, trial, "row"))""",
)
_LIFE = (
    "ALTER TABLE sweeps ADD COLUMN heartbeat_at FLOAT",
    "ALTER TABLE sweeps ADD COLUMN active_s FLOAT NOT NULL DEFAULT 0",
    "ALTER TABLE sweeps ADD COLUMN note TEXT",
    "ALTER TABLE sweep_rows ADD COLUMN measures TEXT",
    """CREATE TABLE sweep_attempts (
        run_id VARCHAR(100) NOT NULL REFERENCES sweeps (run_id), number INTEGER NOT NULL, unit VARCHAR(100) NOT NULL,
        trial INTEGER NOT NULL, "rows" INTEGER NOT NULL, worker VARCHAR(200) NOT NULL, started_at FLOAT NOT NULL,
        ended_at FLOAT NOT NULL, outcome VARCHAR(20) NOT NULL, cost_usd FLOAT NOT NULL, calls INTEGER NOT NULL,
        reason TEXT, PRIMARY KEY (run_id, number))""",
)
_METRIC = (
    "ALTER TABLE sweep_rows ADD COLUMN feedback TEXT",
    "ALTER TABLE sweep_rows ADD COLUMN metric_cost_usd FLOAT NOT NULL DEFAULT 0",
)


# apart, since the type of a counting key differs between databases
_second = sa.MetaData()
sa.Table(
    "sweep_requests",
    _second,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String(100), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("taken_at", sa.Float, nullable=True),
)


def _create(connection: Connection) -> None:
    for statement in _FIRST:
        connection.exec_driver_sql(statement)


def _add_life(connection: Connection) -> None:
    for statement in _LIFE:
        connection.exec_driver_sql(statement)
    _second.create_all(connection)


def _add_metric(connection: Connection) -> None:
    for statement in _METRIC:
        connection.exec_driver_sql(statement)


def _add_trace(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE sweep_rows ADD COLUMN trace TEXT")


def _add_prompt_tokens(connection: Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE sweep_rows ADD COLUMN prompt_tokens INTEGER")


SWEEP_MIGRATIONS = (
    Migration("coordination-0001-sweeps", _create),
    Migration("coordination-0002-life", _add_life),
    Migration("coordination-0003-metric", _add_metric),
    Migration("coordination-0004-trace", _add_trace),
    Migration("coordination-0005-prompt-tokens", _add_prompt_tokens),
)
