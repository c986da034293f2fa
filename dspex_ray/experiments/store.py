"""`ExperimentStore`: experiments in the store, each change with its entry in the audit record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Database, Migration
from dspex_ray.access.audit import Action
from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.experiments.experiment import Experiment
from dspex_ray.store import audit_log
from dspex_ray.store.access_keys import ACCESS_MIGRATIONS

_metadata = sa.MetaData()
_experiments = sa.Table(
    "experiments",
    _metadata,
    sa.Column("name", sa.String(100), primary_key=True),
    sa.Column("endpoint", sa.String(200), nullable=False, index=True),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
)
EXPERIMENT_MIGRATIONS = (Migration("experiments-001-experiments", _metadata.create_all),)


class ExperimentStore:
    """The experiments of one store. Migrates its table when it is made; pickles by the database's URL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate((*ACCESS_MIGRATIONS, *EXPERIMENT_MIGRATIONS))

    def __reduce__(self) -> tuple[type[ExperimentStore], tuple[Database]]:
        """Pickle by the database, which pickles by its URL."""
        return type(self), (self._database,)

    def add(self, one: Experiment, *, by: str, at: float) -> None:
        """Keep a new experiment. Raises UsageError if the name is taken or another one runs on the endpoint."""
        with self._database.transaction() as connection:
            _lock(connection)
            if connection.execute(_named(one.name)).first() is not None:
                raise UsageError(f"An experiment {one.name!r} is there already, and is kept: choose another name.")
            running = _experiments.c.endpoint == one.endpoint, _experiments.c.status == "running"
            other = connection.execute(sa.select(_experiments.c.name).where(*running)).scalar()
            if other is not None:
                raise UsageError(f"The experiment {other!r} runs on {one.endpoint}; stop it before another one starts.")
            connection.execute(_experiments.insert().values(_row(one)))
            audit_log.append(connection, _action(by, "start", one, {"weights": dict(one.weights)}), at)

    def withdraw(self, name: str, why: str, *, by: str, at: float) -> None:
        """Take back an experiment that could not start."""
        with self._database.transaction() as connection:
            connection.execute(_experiments.delete().where(_experiments.c.name == name))
            action = Action(by=by, action="experiment.withdraw", subject=name, details={"why": why})
            audit_log.append(connection, action, at)

    def named(self, name: str) -> Experiment:
        """Return an experiment. Raises UnknownNameError, which names those there are."""
        with self._database.read() as connection:
            return _read(connection, name)

    def listed(self) -> list[Experiment]:
        """Return all experiments, the oldest first."""
        query = sa.select(_experiments.c.definition).order_by(_experiments.c.started_at, _experiments.c.name)
        with self._database.read() as connection:
            return [Experiment.from_json(json.loads(text)) for text in connection.execute(query).scalars()]

    def change(self, before: Experiment, after: Experiment, *, by: str, at: float, details: Mapping[str, Any]) -> None:
        """Keep an experiment's new status. Raises UsageError if it is not as it was seen before."""
        with self._database.transaction() as connection:
            _lock(connection)
            if _read(connection, before.name) != before:
                raise UsageError(f"The experiment {before.name!r} was changed meanwhile; look at it and try again.")
            mine = _experiments.c.name == before.name
            connection.execute(_experiments.update().where(mine).values(_row(after)))
            what = {"stopped": "stop", "promoted": "promote"}.get(after.status, after.status)
            audit_log.append(connection, _action(by, what, after, details), at)


def _row(one: Experiment) -> dict[str, Any]:
    told = {"name": one.name, "endpoint": one.endpoint, "status": one.status, "started_at": one.started_at}
    return {**told, "definition": json.dumps(one.to_json())}


def _action(by: str, what: str, one: Experiment, details: Mapping[str, Any]) -> Action:
    return Action(by=by, action=f"experiment.{what}", subject=one.name, details={"endpoint": one.endpoint, **details})


def _lock(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE experiments IN EXCLUSIVE MODE"))  # one change at a time


def _named(name: str) -> sa.Select[Any]:
    return sa.select(_experiments.c.definition).where(_experiments.c.name == name)


def _read(connection: Connection, name: str) -> Experiment:
    text = connection.execute(_named(name)).scalar()
    if text is None:
        raise UnknownNameError("experiment", name, connection.execute(sa.select(_experiments.c.name)).scalars())
    return Experiment.from_json(json.loads(text))
