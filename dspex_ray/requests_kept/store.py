"""`RequestStore`: requests in the store, what feedback says of them, and their sums for experiments."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from dspex_agents.database import Database
from dspex_ray.feedback.feedback import Feedback
from dspex_ray.requests_kept import sums
from dspex_ray.requests_kept.request import storable
from dspex_ray.requests_kept.sums import UnitSums, Which
from dspex_ray.requests_kept.tables import REQUEST_MIGRATIONS, WRITTEN, feedback, requests, salts

_SALT_BYTES = 32
_MOST_WHO, _MOST_ENDPOINTS = 200, 1000


class RequestStore:
    """The requests kept in one store. Migrates its tables when it is made; pickles by the database's URL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate(REQUEST_MIGRATIONS)

    def __reduce__(self) -> tuple[type[RequestStore], tuple[Database]]:
        """Pickle by the database, which pickles by its URL."""
        return type(self), (self._database,)

    def salt(self) -> bytes:
        """Return the salt of this store's hashes of users, drawn the first time that it is asked for."""
        drawn = {"name": "unit", "salt": secrets.token_hex(_SALT_BYTES)}
        with self._database.transaction() as connection:
            connection.execute(_insert(connection, salts).on_conflict_do_nothing(), [drawn])
            return bytes.fromhex(connection.execute(sa.select(salts.c.salt)).scalar_one())

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep requests, as `KeptRequest.to_row` gives them; one that is kept already is passed over."""
        values = [{name: row.get(name) for name in WRITTEN} for row in rows]
        if values:
            with self._database.transaction() as connection:
                connection.execute(_insert(connection, requests).on_conflict_do_nothing(), values)

    def prune(self, before: float, *, spare: Mapping[str, float] | None = None) -> int:
        """Remove requests that began before a time, with the feedback on them, and return how many.

        `spare` says for an endpoint since when its requests stay all the same: a running experiment needs them.
        """
        old = [requests.c.at < before]
        old += [sa.or_(requests.c.endpoint != name, requests.c.at < since) for name, since in (spare or {}).items()]
        of_it = [feedback.c[name] == requests.c[name] for name in ("tenant", "endpoint", "request_id")]
        with self._database.transaction() as connection:
            connection.execute(feedback.delete().where(sa.exists().where(*of_it, *old)))
            return int(connection.execute(requests.delete().where(*old)).rowcount)

    def add_feedback(self, said: Feedback, *, by: str, at: float) -> int | None:
        """Keep feedback and return its number among those of its request; None if the tenant has no such request.

        What it says holds from now on; what it leaves out stays as earlier feedback said. Earlier feedback is kept.
        """
        mine = [_of(requests, said), ~requests.c.shadow]
        told = {"reward": said.reward, "correction": None if said.correction is None else json.dumps(said.correction)}
        new = {name: value for name, value in told.items() if value is not None}
        with self._database.transaction() as connection:
            if connection.execute(requests.update().where(*mine).values(new)).rowcount == 0:  # locks the request
                return None
            last = sa.select(sa.func.max(feedback.c.number)).where(_of(feedback, said))
            number = int(connection.execute(last).scalar() or 0) + 1
            key = {"tenant": said.tenant, "endpoint": said.endpoint, "request_id": said.request_id, "number": number}
            values = {**key, **told, "note": said.note, "at": at, "by": storable(by, _MOST_WHO) or "unknown"}
            connection.execute(feedback.insert().values(values))
            return number

    def feedback_on(self, tenant: str, endpoint: str, request_id: str) -> list[dict[str, Any]]:
        """Return all feedback on a request, oldest first."""
        chosen = {"tenant": tenant, "endpoint": endpoint, "request_id": request_id}
        query = sa.select(feedback).where(*(feedback.c[name] == value for name, value in chosen.items()))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(feedback.c.number)).mappings().all()
        return [{**row, "correction": _loaded(row["correction"])} for row in found]

    def rows(self, endpoint: str, *, since: float = 0.0) -> Iterator[dict[str, Any]]:
        """Yield the requests of an endpoint since a time, oldest first, all as of one moment; JSON is read."""
        query = sa.select(requests).where(requests.c.endpoint == endpoint, requests.c.at >= since)
        with self._database.read() as connection:
            for row in connection.execute(query.order_by(requests.c.at, requests.c.request_id)).mappings():
                yield {**row, **{name: _loaded(row[name]) for name in ("input", "output", "correction")}}

    def endpoints(self) -> list[str]:
        """Return the endpoints that have requests here."""
        query = sa.select(requests.c.endpoint).distinct().order_by(requests.c.endpoint).limit(_MOST_ENDPOINTS)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def sums(self, which: Which) -> list[UnitSums]:
        """Return the sums of the requests that fit, by unit and version."""
        with self._database.read() as connection:
            return sums.by_unit(connection, which)

    def span(self, which: Which) -> tuple[float, float] | None:
        """Return when the first and the last request that fits began; None if there is none."""
        with self._database.read() as connection:
            return sums.span(connection, which)


def _insert(connection: Connection, table: sa.Table) -> Any:
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


def _of(table: sa.Table, said: Feedback) -> sa.ColumnElement[bool]:
    chosen = {"tenant": said.tenant, "endpoint": said.endpoint, "request_id": said.request_id}
    return sa.and_(*(table.c[name] == value for name, value in chosen.items()))


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
