"""`ScheduleStore`: an agent's schedules in the database, so that they outlive its process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Database, Migration
from dspex_agents.services.json_body import from_json, to_json
from dspex_agents.services.schedule import Schedule, ScheduleState

_metadata = sa.MetaData()
_schedules = sa.Table(
    "schedules",
    _metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("schedule", sa.Text, nullable=False),
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("missed", sa.Integer, nullable=False),
    sa.Column("last_at", sa.Float, nullable=True),
    sa.Column("last_error", sa.Text, nullable=False),
)
_FIGURES = ("due_at", "done", "failed", "missed", "last_at", "last_error")


def _create_tables(connection: Connection) -> None:
    _metadata.create_all(connection, tables=[_schedules])


SCHEDULE_MIGRATIONS = (Migration("schedules-001-schedules", _create_tables),)


class ScheduleStore:
    """Every method is one transaction and blocks. Makes its table at once. Raises StoreError."""

    def __init__(self, database: Database, agent: str) -> None:
        self._database, self._agent = database, agent
        database.migrate(SCHEDULE_MIGRATIONS)

    def load(self) -> list[ScheduleState]:
        """Return every schedule as it was last saved; ticks that were under way are due again."""
        t = _schedules.c
        query = sa.select(t.schedule, *(t[name] for name in _FIGURES)).where(t.agent == self._agent)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [_state(dict(row)) for row in rows]

    def save(self, state: ScheduleState) -> None:
        """Add or replace a schedule. Raises SpecError when its message is not JSON."""
        schedule = state.schedule
        row = {"schedule": to_json(asdict(schedule)), **{name: getattr(state, name) for name in _FIGURES}}
        with self._database.transaction() as connection:
            connection.execute(_schedules.delete().where(*self._key(schedule.owner, schedule.id)))
            key = {"agent": self._agent, "owner": schedule.owner, "id": schedule.id}
            connection.execute(_schedules.insert().values(**key, **row))

    def delete(self, owner: str, id_: str) -> None:
        """Forget a schedule."""
        with self._database.transaction() as connection:
            connection.execute(_schedules.delete().where(*self._key(owner, id_)))

    def _key(self, owner: str, id_: str) -> list[sa.ColumnElement[bool]]:
        t = _schedules.c
        return [t.agent == self._agent, t.owner == owner, t.id == id_]


def _state(row: dict[str, Any]) -> ScheduleState:
    return ScheduleState(Schedule(**from_json(row.pop("schedule"))), **row)
