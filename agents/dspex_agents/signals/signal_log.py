"""`SignalLog`: a bus's signals, subscriptions, open deliveries and dead letters in the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Database, Migration
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_delivery import Delivery, Subscription
from dspex_agents.signals.signal_router import SignalRoute, SignalRouter

_metadata = sa.MetaData()
_signals = sa.Table(
    "signals",
    _metadata,
    # SQLite counts up by itself, without ever using a number again, only for a plain INTEGER key
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("bus", sa.String(200), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.UniqueConstraint("bus", "source", "id"),
    sqlite_autoincrement=True,
)
_subscriptions = sa.Table(
    "signal_subscriptions",
    _metadata,
    sa.Column("bus", sa.String(200), primary_key=True),
    sa.Column("id", sa.String(500), primary_key=True),
    sa.Column("fields", sa.Text, nullable=False),
)
_deliveries = sa.Table(
    "signal_deliveries",
    _metadata,
    sa.Column("bus", sa.String(200), primary_key=True),
    sa.Column("subscription", sa.String(500), primary_key=True),
    sa.Column("sequence", sa.ForeignKey("signals.sequence"), primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("due_at", sa.Float, nullable=False, default=0.0),
    sa.Column("dead_at", sa.Float, nullable=True),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Index("signal_deliveries_by_sequence", "sequence"),
)


def _create_tables(connection: Connection) -> None:
    _metadata.create_all(connection, tables=[_signals, _subscriptions, _deliveries])


SIGNAL_MIGRATIONS = (Migration("agents-001-signals", _create_tables),)
_SCAN = 500


@dataclass(frozen=True, slots=True)
class LoggedSignal:
    """A signal of the log, its number in it, and when the bus took it (seconds since the epoch)."""

    sequence: int
    at: float
    signal: Signal


@dataclass(frozen=True, slots=True)
class DeadSignal:
    """A signal that a subscription was not able to take, why, since when, and after how many attempts."""

    subscription: str
    sequence: int
    signal: Signal
    reason: str
    attempts: int
    dead_at: float


class SignalLog:
    """Every method is one transaction and blocks. Makes its tables at once. Raises StoreError."""

    def __init__(self, database: Database, bus: str) -> None:
        self._database, self._bus = database, bus
        database.migrate(SIGNAL_MIGRATIONS)

    def append(self, signal: Signal, to: Sequence[str], dead: Sequence[str], at: float) -> tuple[int, bool]:
        """Store a signal with its deliveries, those of `dead` as dead letters; return its sequence and "is new".

        A signal whose source and id are there already is left as it is.
        """
        same = (_signals.c.bus == self._bus, _signals.c.source == signal.source, _signals.c.id == signal.id)
        with self._database.transaction() as connection:
            known = connection.scalar(sa.select(_signals.c.sequence).where(*same))
            if known is not None:
                return known, False
            row = {"source": signal.source, "id": signal.id, "type": signal.type, "event": signal.to_json()}
            insert = _signals.insert().values(bus=self._bus, at=at, **row).returning(_signals.c.sequence)
            sequence = int(connection.scalars(insert).one())
            rows = [self._delivery(name, sequence) for name in to]
            rows += [self._delivery(name, sequence, dead_at=at, reason="its queue was full") for name in dead]
            if rows:
                connection.execute(_deliveries.insert(), rows)
            return sequence, True

    def read(self, pattern: str, since: int, since_time: float, limit: int) -> tuple[list[LoggedSignal], int | None]:
        """Return up to `limit` signals after sequence `since` and not before `since_time`, and where to go on.

        The second part is None at the end of the log.
        """
        router = SignalRouter([SignalRoute(pattern, None)])
        found: list[LoggedSignal] = []
        with self._database.read() as connection:
            while True:
                rows = self._rows_after(connection, since, since_time)
                for sequence, at, type_, event in rows:
                    if router.match(type_):
                        if len(found) == limit:
                            return found, since
                        found.append(LoggedSignal(sequence, at, Signal.from_json(event)))
                    since = sequence
                if len(rows) < _SCAN:
                    return found, None

    def last_sequence(self) -> int:
        """Return the number of the newest signal, 0 when there is none."""
        with self._database.read() as connection:
            query = sa.select(sa.func.max(_signals.c.sequence)).where(_signals.c.bus == self._bus)
            return connection.scalar(query) or 0

    def subscriptions(self) -> list[Subscription]:
        """Return the subscriptions, by id."""
        query = sa.select(_subscriptions.c.fields).where(_subscriptions.c.bus == self._bus)
        with self._database.read() as connection:
            texts = connection.scalars(query.order_by(_subscriptions.c.id)).all()
        return [Subscription.from_dict(json.loads(text)) for text in texts]

    def subscribe(self, subscription: Subscription, history: Iterable[int]) -> set[int]:
        """Add or replace a subscription, and open deliveries of logged signals; return which ones.

        Signals that are open or dead letters of it already are left alone.
        """
        key = (_subscriptions.c.bus == self._bus, _subscriptions.c.id == subscription.id)
        with self._database.transaction() as connection:
            connection.execute(_subscriptions.delete().where(*key))
            fields = json.dumps(subscription.to_dict())
            connection.execute(_subscriptions.insert().values(bus=self._bus, id=subscription.id, fields=fields))
            known = set(connection.scalars(sa.select(_deliveries.c.sequence).where(*self._of(subscription.id))))
            rows = [self._delivery(subscription.id, sequence) for sequence in history if sequence not in known]
            if rows:
                connection.execute(_deliveries.insert(), rows)
        return {row["sequence"] for row in rows}

    def unsubscribe(self, id_: str, now: float) -> int:
        """Remove a subscription; what it was still to be sent becomes dead letters. Return how many."""
        with self._database.transaction() as connection:
            key = (_subscriptions.c.bus == self._bus, _subscriptions.c.id == id_)
            connection.execute(_subscriptions.delete().where(*key))
            open_ = _deliveries.update().where(*self._of(id_), _deliveries.c.dead_at.is_(None))
            return connection.execute(open_.values(dead_at=now, reason="unsubscribed")).rowcount

    def pending(self, subscription: str) -> list[Delivery]:
        """Return the open deliveries of a subscription, in order."""
        d = _deliveries.c
        query = sa.select(d.sequence, d.attempts, d.due_at, _signals.c.event).join(_signals)
        query = query.where(*self._of(subscription), d.dead_at.is_(None)).order_by(d.sequence)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Delivery(n, Signal.from_json(event), attempts, due) for n, attempts, due, event in rows]

    def acknowledge(self, subscription: str, sequence: int) -> None:
        """Close a delivery."""
        with self._database.transaction() as connection:
            connection.execute(_deliveries.delete().where(*self._of(subscription, [sequence])))

    def retry_later(self, subscription: str, delivery: Delivery, reason: str) -> None:
        """Note a failed attempt and when the next one is due."""
        self._update(subscription, delivery.sequence, attempts=delivery.attempts, due_at=delivery.due_at, reason=reason)

    def bury(self, subscription: str, delivery: Delivery, reason: str, now: float) -> None:
        """Make a delivery a dead letter after one more attempt."""
        self._update(subscription, delivery.sequence, attempts=delivery.attempts + 1, dead_at=now, reason=reason)

    def dead_letters(
        self, subscription: str | None, limit: int, sequences: Sequence[int] | None = None
    ) -> list[DeadSignal]:
        """Return dead letters (of these sequences) of one or of all subscriptions, oldest first."""
        d = _deliveries.c
        query = sa.select(d.subscription, d.sequence, _signals.c.event, d.reason, d.attempts, d.dead_at).join(_signals)
        query = query.where(*self._of(subscription, sequences), d.dead_at.is_not(None)).order_by(d.dead_at, d.sequence)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [DeadSignal(row[0], row[1], Signal.from_json(row[2]), *row[3:]) for row in rows]

    def count_dead(self) -> dict[str, int]:
        """Return the number of dead letters of each subscription that has some."""
        d = _deliveries.c
        query = sa.select(d.subscription, sa.func.count()).where(d.bus == self._bus, d.dead_at.is_not(None))
        with self._database.read() as connection:
            return {name: count for name, count in connection.execute(query.group_by(d.subscription))}  # noqa: C416 - rows are no plain tuples to a type checker

    def redrive(self, subscription: str, sequences: Sequence[int]) -> None:
        """Open dead letters again, with all their attempts."""
        with self._database.transaction() as connection:
            dead = _deliveries.update().where(*self._of(subscription, sequences), _deliveries.c.dead_at.is_not(None))
            connection.execute(dead.values(attempts=0, due_at=0.0, dead_at=None, reason=""))

    def discard(self, subscription: str, sequences: Sequence[int] | None) -> int:
        """Delete dead letters for good; return how many."""
        with self._database.transaction() as connection:
            dead = (*self._of(subscription, sequences), _deliveries.c.dead_at.is_not(None))
            return connection.execute(_deliveries.delete().where(*dead)).rowcount

    def prune(self, before: float) -> int:
        """Delete signals taken before a time, except those with open deliveries or dead letters; return how many."""
        needed = sa.exists().where(_deliveries.c.sequence == _signals.c.sequence)
        with self._database.transaction() as connection:
            old = (_signals.c.bus == self._bus, _signals.c.at < before, ~needed)
            return connection.execute(_signals.delete().where(*old)).rowcount

    def _rows_after(self, connection: Connection, since: int, since_time: float) -> Sequence[Any]:
        s = _signals.c
        query = sa.select(s.sequence, s.at, s.type, s.event)
        query = query.where(s.bus == self._bus, s.sequence > since, s.at >= since_time)
        return connection.execute(query.order_by(s.sequence).limit(_SCAN)).all()

    def _delivery(self, subscription: str, sequence: int, **fields: Any) -> dict[str, Any]:
        row = {"attempts": 0, "due_at": 0.0, "dead_at": None, "reason": "", **fields}
        return {"bus": self._bus, "subscription": subscription, "sequence": sequence, **row}

    def _of(self, subscription: str | None, sequences: Sequence[int] | None = None) -> list[sa.ColumnElement[bool]]:
        conditions: list[sa.ColumnElement[bool]] = [_deliveries.c.bus == self._bus]
        if subscription is not None:
            conditions.append(_deliveries.c.subscription == subscription)
        if sequences is not None:
            conditions.append(_deliveries.c.sequence.in_(sequences))
        return conditions

    def _update(self, subscription: str, sequence: int, **fields: Any) -> None:
        with self._database.transaction() as connection:
            connection.execute(_deliveries.update().where(*self._of(subscription, [sequence])).values(**fields))
