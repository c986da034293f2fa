"""Watches over served versions: each step of one in order, the last of which says how it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Migration
from dspex_ray.errors import UsageError

_metadata = sa.MetaData()
_steps = sa.Table(
    "watch_steps",
    _metadata,
    sa.Column("program", sa.String(300), primary_key=True),
    sa.Column("label", sa.String(63), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStep:
    """One step of the watch over a program's label; `step` counts from 1, `at` is in seconds since the epoch.

    `facts` is what came of it, `state` what the next step begins with, both JSON.
    """

    program: str
    label: str
    step: int
    at: float
    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON, without the state."""
        return {**{name: getattr(self, name) for name in ("step", "at", "kind")}, **self.facts}


def append(connection: Connection, step: WatchStep) -> None:
    """Keep a step. Raises UsageError if another watch of the same label has kept it meanwhile."""
    known = sa.select(_steps.c.step).where(*_of(step.program, step.label), _steps.c.step == step.step)
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE watch_steps IN EXCLUSIVE MODE"))  # one next step at a time
    if connection.execute(known).scalar() is not None:
        raise UsageError(
            f"Another watch of {step.label} of {step.program} goes on with the same store; let one of the two be."
        )
    values = {name: getattr(step, name) for name in ("program", "label", "step", "at", "kind")}
    told = {"facts": json.dumps(dict(step.facts)), "state": json.dumps(dict(step.state))}
    connection.execute(_steps.insert().values(**values, **told))


def last(connection: Connection, program: str, label: str, count: int) -> list[WatchStep]:
    """Return the last `count` steps, oldest first."""
    query = sa.select(_steps).where(*_of(program, label)).order_by(_steps.c.step.desc()).limit(count)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return [
        WatchStep(**{**row, "facts": json.loads(row["facts"]), "state": json.loads(row["state"])})
        for row in reversed(rows)
    ]


def _of(program: str, label: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _steps.c.program == program, _steps.c.label == label


WATCH_MIGRATIONS = (Migration("watches-001-steps", _metadata.create_all),)
