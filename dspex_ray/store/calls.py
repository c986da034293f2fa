"""Model calls in the store: kept once each, summed as a whole or by what they were made for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from dspex_ray.errors import UnknownNameError
from dspex_ray.store.tables import calls

_DAY_S = 86_400
_PIECE = 1000
_COST = 5  # its place among the sums
_COLUMNS = {
    "program": calls.c.program,
    "model": calls.c.model,
    "run": calls.c.run_id,
    "version": calls.c.version,
    "trial": calls.c.trial,
    "status": calls.c.status,
    "module": calls.c.module,
    "agent": calls.c.agent,
    "tenant": calls.c.tenant,
}
CALL_COLUMNS = tuple(calls.c.keys())
COST_KEYS = (*_COLUMNS, "day")
"""What costs can be told by; a day is one of UTC."""


@dataclass(frozen=True, slots=True)
class CallTotals:
    """Sums over model calls; `unpriced` ones have no known price and are not in `cost_usd`.

    `unknown` ones were sent by a process that died before it learnt their outcome; they are unpriced as well.
    """

    calls: int
    failed: int
    unpriced: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    cached: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFilter:
    """Which calls count: those that fit all that is given. Times are seconds since the epoch, `until` excluded."""

    program: str | None = None
    run: str | None = None
    version: str | None = None
    model: str | None = None
    module: str | None = None
    agent: str | None = None
    tenant: str | None = None
    status: str | None = None
    since: float | None = None
    until: float | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on the table."""
        wanted = {name: getattr(self, name) for name in _COLUMNS if name != "trial"}
        found = [column == wanted[name] for name, column in _COLUMNS.items() if wanted.get(name) is not None]
        if self.since is not None:
            found.append(calls.c.at >= self.since)
        if self.until is not None:
            found.append(calls.c.at < self.until)
        return found


@dataclass(frozen=True, slots=True)
class CostLine:
    """The sums of the calls that share these values; None stands for calls made for no such thing."""

    group: Mapping[str, str | int | None]
    totals: CallTotals


ALL_CALLS = CallFilter()


def insert_calls(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert model calls within the caller's transaction, passing over ids that are there."""
    values = [{name: _storable(name, value) for name, value in row.items()} for row in rows]
    if not values:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(calls).on_conflict_do_nothing(index_elements=["id"]), values)


def totals(connection: Connection, which: CallFilter = ALL_CALLS) -> CallTotals:
    """Return the sums over the calls that fit."""
    return _totals(connection.execute(sa.select(*_sums()).where(*which.conditions())).one())


def costs(connection: Connection, by: Sequence[str], which: CallFilter = ALL_CALLS) -> list[CostLine]:
    """Return one line for each combination of what `by` names, the dearest first. Raises UnknownNameError."""
    unknown = next((name for name in by if name not in COST_KEYS), None)
    if unknown is not None:
        raise UnknownNameError("grouping of costs", unknown, COST_KEYS)
    columns = [_day(connection) if name == "day" else _COLUMNS[name] for name in by]
    sums = _sums()
    query = sa.select(*columns, *sums).where(*which.conditions()).group_by(*columns)
    dearest = [sums[_COST].desc(), sums[0].desc(), *columns]
    lines = []
    for row in connection.execute(query.order_by(*dearest)):
        values = [_date(value) if name == "day" else value for name, value in zip(by, row, strict=False)]
        lines.append(CostLine(dict(zip(by, values, strict=True)), _totals(row[len(by) :])))
    return lines


def single(connection: Connection, which: CallFilter = ALL_CALLS) -> Iterator[dict[str, Any]]:
    """Yield the calls that fit, the oldest first, while the connection is open."""
    query = sa.select(calls).where(*which.conditions()).order_by(calls.c.at, calls.c.id)
    for row in connection.execution_options(yield_per=_PIECE).execute(query).mappings():
        yield dict(row)


def _sums() -> list[sa.ColumnElement[Any]]:
    c = calls.c
    return [
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(sa.case((c.status == "error", 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(sa.case((c.cost_usd.is_(None), 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(c.prompt_tokens), 0),
        sa.func.coalesce(sa.func.sum(c.completion_tokens), 0),
        sa.func.coalesce(sa.func.sum(c.cost_usd), 0.0),
        sa.func.coalesce(sa.func.sum(sa.case((c.status == "cached", 1), else_=0)), 0),
        sa.func.coalesce(sa.func.sum(sa.case((c.status == "unknown", 1), else_=0)), 0),
    ]


def _totals(row: Sequence[Any]) -> CallTotals:
    count, failed, unpriced, prompt, completion, cost, cached, unknown = row
    return CallTotals(
        int(count),
        int(failed),
        int(unpriced),
        int(prompt),
        int(completion),
        float(cost),
        cached=int(cached),
        unknown=int(unknown),
    )


def _day(connection: Connection) -> sa.ColumnElement[Any]:
    days = calls.c.at / _DAY_S
    # a cast to an integer cuts off in SQLite and rounds in PostgreSQL, which in turn has `floor` at all times
    return sa.cast(days, sa.Integer) if connection.dialect.name == "sqlite" else sa.func.floor(days)


def _date(days: float) -> str:
    return datetime.fromtimestamp(int(days) * _DAY_S, UTC).date().isoformat()


def _storable(column: str, value: Any) -> Any:
    """Return text as every database takes it; one odd reply of a provider must not keep a whole batch out."""
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return text[: getattr(calls.c[column].type, "length", None)]
