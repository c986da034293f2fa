"""Sums of requests by unit and version: what the statistics of experiments are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_ray.requests_kept.tables import requests

FAULTS_OF_VERSIONS: Final = ("input-too-long", "model-rate-limit")
"""Problems with a status below 500 that are the version's, not the client's: another prompt or model had none."""
_BAD_REQUEST, _SERVER_ERROR = 400, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Requests of an endpoint that began from `since` on and before `until`, dealt by weight to these versions.

    What a rule sent there, and what a shadow answered, is none of them. Under another revision of the plan than
    `revision` a request is none either, where both are known. `by_request` makes each request a unit of its own.
    """

    endpoint: str
    versions: tuple[str, ...]
    since: float
    until: float | None = None
    revision: int | None = None
    by_request: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSums:
    """One unit and one version. `answered` is the number of requests that its version could have answered.

    `measures` has sum and number of the measured `latency`, `cost` and `score`; the first two of answers alone.
    """

    unit: str
    version: str
    first_at: float
    requests: int
    answered: int
    successes: int
    measures: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def names_user(self) -> bool:
        """Whether the unit is a user."""
        return self.unit.startswith("u")


def by_unit(connection: Connection, which: Which) -> list[UnitSums]:
    """Return the sums of each unit and version, in an order of their own."""
    c = requests.c
    key = [c.version, c.unit, *([c.tenant, c.request_id] if which.by_request else [])]
    good = c.status < _BAD_REQUEST
    judged = sa.or_(good, c.status >= _SERVER_ERROR, c.error.in_(FAULTS_OF_VERSIONS))
    latency, cost = (sa.case((good, column)) for column in (c.latency_s, c.cost_usd))
    sums = [found for one in (latency, cost, c.reward) for found in (sa.func.sum(one), sa.func.count(one))]
    query = (
        sa.select(sa.func.min(c.at), sa.func.count(), _number(judged), _number(good), *sums, *key)
        .where(*_conditions(which))
        .group_by(*key)
        .order_by(*key)
    )
    return [_read(row) for row in connection.execute(query)]


def _read(row: Sequence[Any]) -> UnitSums:
    places = {"latency": 4, "cost": 6, "score": 8}
    version, *unit = row[10:]
    return UnitSums(
        unit="/".join(unit),
        version=version,
        first_at=row[0],
        requests=row[1],
        answered=row[2],
        successes=row[3],
        measures={name: (float(row[at] or 0.0), int(row[at + 1])) for name, at in places.items()},
    )


def span(connection: Connection, which: Which) -> tuple[float, float] | None:
    """Return when the first and the last request began; None if there is none."""
    query = sa.select(sa.func.min(requests.c.at), sa.func.max(requests.c.at)).where(*_conditions(which))
    first, last = connection.execute(query).one()
    return None if first is None else (float(first), float(last))


def _number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _conditions(which: Which) -> list[sa.ColumnElement[bool]]:
    c = requests.c
    chosen = [c.endpoint == which.endpoint, c.at >= which.since, c.version.in_(which.versions), ~c.shadow]
    chosen.append(sa.or_(c.reason.is_(None), ~c.reason.startswith("rule:", autoescape=True)))
    if which.until is not None:
        chosen.append(c.at < which.until)
    if which.revision is not None:
        chosen.append(sa.or_(c.revision.is_(None), c.revision == which.revision))
    return chosen
