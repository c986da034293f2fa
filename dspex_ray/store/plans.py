"""Traffic plans in the store: every revision of each endpoint's plan, the last of which is in force."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Database, Migration
from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.traffic.plan import TrafficPlan

PlanKind = Literal["deploy", "change", "rollback", "ramp"]

_MOST_WHO, _MOST_WHY = 200, 2000

_metadata = sa.MetaData()
_revisions = sa.Table(
    "traffic_plans",
    _metadata,
    sa.Column("endpoint", sa.String(200), primary_key=True),
    sa.Column("revision", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("program", sa.String(300), nullable=False),
    sa.Column("carried", sa.String(100), nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)
PLAN_MIGRATIONS = (Migration("plans-001-revisions", _metadata.create_all),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRevision:
    """A plan as it was put in force; `revision` counts the plans of an endpoint from 1, `at` is epoch seconds.

    `program` is the path of the program whose versions share the requests, and `carried` the version that its replicas
    were deployed with, which need not be in the store. One of kind `ramp` goes on with a ramp that a `change` began: a
    rollback goes back to before all of it.
    """

    endpoint: str
    revision: int
    kind: PlanKind
    program: str
    carried: str
    plan: TrafficPlan
    at: float
    by: str
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "plan": self.plan.to_json()}


class PlanStore:
    """The plans of all endpoints of a store. Migrates its table when it is made; pickles by the database's URL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(PLAN_MIGRATIONS)

    def __reduce__(self) -> tuple[type[PlanStore], tuple[Database]]:
        """Pickle by the database, which pickles by its URL."""
        return type(self), (self._database,)

    def current(self, endpoint: str) -> PlanRevision:
        """Return the plan in force. Raises UnknownNameError for an endpoint that never had one."""
        with self._database.read() as connection:
            found = _last(connection, endpoint)
            if found is None:
                raise UnknownNameError("endpoint", endpoint, _endpoints(connection))
            return found

    def number(self, endpoint: str) -> int:
        """Return the number of the plan in force; 0 if the endpoint never had one."""
        with self._database.read() as connection:
            return number_in_force(connection, endpoint)

    def revisions(self, endpoint: str) -> list[PlanRevision]:
        """Return all plans that the endpoint ever had, oldest first."""
        with self._database.read() as connection:
            return list(_all(connection, endpoint))

    def newer(self, seen: Iterable[tuple[str, int]]) -> list[PlanRevision]:
        """Return the plan in force of each endpoint, where its revision is above the one that was seen."""
        with self._database.read() as connection:
            last = [(revision, _last(connection, endpoint)) for endpoint, revision in seen]
        return [one for revision, one in last if one is not None and one.revision > revision]

    def put(self, asked: PlanRevision, *, expected: int | None = None) -> PlanRevision:
        """Put a plan in force and return it under its own revision, whatever number it was asked with.

        `expected` is the revision that the asker saw in force; None replaces any. Raises UsageError if it is another.
        """
        with self._database.transaction() as connection:
            return keep_plan(connection, asked, expected)

    def before(self, endpoint: str) -> PlanRevision:
        """Return the plan that a rollback puts in force. Raises as `roll_back`."""
        with self._database.read() as connection:
            return _before(connection, endpoint)

    def roll_back(
        self, endpoint: str, *, by: str, at: float, why: str = "", expected: int | None = None
    ) -> PlanRevision:
        """Put the plan before in force again; once more, and the one before that. Returns the new revision.

        Raises UnknownNameError for an endpoint that never had a plan, UsageError if it has had no other, or if
        `expected` is not the revision in force.
        """
        with self._database.transaction() as connection:
            _lock(connection)
            before = _before(connection, endpoint)
            last = _last(connection, endpoint) or before  # its program and what it carries stay
            back = replace(last, plan=before.plan, kind="rollback", by=by, at=at, why=why)
            return keep_plan(connection, back, expected)


def _before(connection: Connection, endpoint: str) -> PlanRevision:
    standing = _standing(_all(connection, endpoint))
    if not standing:
        raise UnknownNameError("endpoint", endpoint, _endpoints(connection))
    if len(standing) == 1:
        raise UsageError(f"The endpoint {endpoint!r} has had no plan before the one in force: no way back.")
    return standing[-2]


def _standing(revisions: Iterable[PlanRevision]) -> list[PlanRevision]:
    """Return the plans without what rollbacks took back, the one in force last."""
    found: list[PlanRevision] = []
    for one in revisions:
        if one.kind in ("rollback", "ramp"):  # the next step of a ramp takes the place of the one before
            found.pop()
        if one.kind != "rollback":
            found.append(one)
    return found


def keep_plan(connection: Connection, asked: PlanRevision, expected: int | None) -> PlanRevision:
    """Put a plan in force within a transaction; see `PlanStore.put`."""
    _lock(connection)
    last = number_in_force(connection, asked.endpoint)
    if expected not in (None, last):
        raise UsageError(
            f"The traffic of {asked.endpoint} was changed meanwhile: revision {last} is in force, and {expected} was "
            "when this began. Look at it and try again."
        )
    by, why = _text(asked.by, _MOST_WHO) or "unknown", _text(asked.why, _MOST_WHY)
    kept = replace(asked, revision=last + 1, by=by, why=why)
    connection.execute(_revisions.insert().values(**{**kept.to_json(), "plan": json.dumps(kept.plan.to_json())}))
    return kept


def _lock(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE traffic_plans IN EXCLUSIVE MODE"))  # one next revision at a time


def number_in_force(connection: Connection, endpoint: str) -> int:
    """Return the number of the plan in force; 0 if the endpoint never had one."""
    query = sa.select(sa.func.max(_revisions.c.revision)).where(_revisions.c.endpoint == endpoint)
    return int(connection.execute(query).scalar() or 0)


def _last(connection: Connection, endpoint: str) -> PlanRevision | None:
    query = sa.select(_revisions).where(_revisions.c.endpoint == endpoint).order_by(_revisions.c.revision.desc())
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else _read(row)


def _all(connection: Connection, endpoint: str) -> Iterator[PlanRevision]:
    query = sa.select(_revisions).where(_revisions.c.endpoint == endpoint).order_by(_revisions.c.revision)
    yield from map(_read, connection.execute(query).mappings())


def _endpoints(connection: Connection) -> list[str]:
    return list(connection.execute(sa.select(_revisions.c.endpoint).distinct()).scalars())


def _read(row: Any) -> PlanRevision:
    return PlanRevision(**{**row, "plan": TrafficPlan.from_json(json.loads(row["plan"]))})


def _text(value: str, most: int) -> str:
    """Return text that every database takes."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")[:most]
