"""Budgets in the store: their caps, what is spent of them, and what is lent to whom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dspex_agents.database import Migration
from dspex_ray.budgets.amounts import Amounts
from dspex_ray.budgets.book import BudgetBook, Lease, Slice, TakeSlice
from dspex_ray.budgets.budget import Budget
from dspex_ray.store.tables import calls

_metadata = sa.MetaData()


def _key() -> tuple[sa.Column[Any], ...]:
    return sa.Column("scope", sa.String(10), primary_key=True), sa.Column("name", sa.String(300), primary_key=True)


def _amounts(prefix: str) -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column(f"{prefix}_usd", sa.Float, nullable=False),
        sa.Column(f"{prefix}_calls", sa.BigInteger, nullable=False),
        sa.Column(f"{prefix}_tokens", sa.BigInteger, nullable=False),
    )


_budgets = sa.Table(
    "budgets",
    _metadata,
    *_key(),
    sa.Column("usd", sa.Float),
    sa.Column("calls", sa.BigInteger),
    sa.Column("tokens", sa.BigInteger),
    sa.Column("period", sa.String(10), nullable=False),
    sa.Column("unpriced", sa.String(10), nullable=False),
    sa.Column("set_at", sa.Float, nullable=False),
)
_windows = sa.Table(
    "budget_windows",
    _metadata,
    *_key(),
    sa.Column("window", sa.Float, primary_key=True),
    *_amounts("settled"),
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("short_at", sa.Float, nullable=False),
)
_first_leases = sa.Table(
    "budget_leases",
    _metadata,
    *_key(),
    sa.Column("window", sa.Float, primary_key=True),
    sa.Column("holder", sa.String(100), primary_key=True),
    *_amounts("granted"),
    *_amounts("spent"),
    sa.Column("heard_at", sa.Float, nullable=False),
)
_BASE = _amounts("base")
_leases = _first_leases.to_metadata(sa.MetaData())
for _column in _BASE:
    _leases.append_column(_column)


def _add_base(connection: Connection) -> None:
    """Keep what the ledger had of a holder when its lease began: that was not spent under the lease."""
    for column in _BASE:
        told = f"ALTER TABLE budget_leases ADD COLUMN {column.name} {column.type.compile(connection.dialect)}"
        connection.execute(sa.text(f"{told} NOT NULL DEFAULT 0"))
    connection.execute(sa.text("CREATE INDEX ix_calls_holder ON calls (holder)"))


BUDGET_MIGRATIONS = (
    Migration("program-003-budgets", _metadata.create_all),
    Migration("program-004-lease-bases", _add_base),
)


@dataclass(frozen=True, slots=True)
class SetBudget:
    """A budget as it was set. One that is removed and set again is another one: `set_at` tells them apart."""

    budget: Budget
    set_at: float


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget in its present window: what is spent, and what is lent to `holders` processes beyond that."""

    budget: Budget
    window: float
    spent: Amounts
    out: Amounts
    holders: int

    @property
    def left(self) -> Amounts:
        """What is left of each cap once all that is out were spent; meaningless where there is no cap."""
        return self.budget.limit - self.spent - self.out


def put(connection: Connection, budget: Budget, now: float) -> None:
    """Set a budget, or change the caps of one that is there; what is spent of it stays.

    One whose period changes is another one.
    """
    values = budget.to_json()
    known = connection.execute(sa.select(_budgets.c.period).where(*_of(_budgets, budget.scope, budget.name))).scalar()
    if known == budget.period:
        connection.execute(_budgets.update().where(*_of(_budgets, budget.scope, budget.name)).values(values))
        return
    remove(connection, budget.scope, budget.name)
    connection.execute(_budgets.insert().values(**values, set_at=now))


def remove(connection: Connection, scope: str, name: str) -> bool:
    """Remove a budget; False when there was none."""
    for table in (_windows, _leases):
        connection.execute(table.delete().where(*_of(table, scope, name)))
    return connection.execute(_budgets.delete().where(*_of(_budgets, scope, name))).rowcount > 0


def listed(connection: Connection) -> list[SetBudget]:
    """Return all budgets, by scope and name."""
    rows = connection.execute(sa.select(_budgets).order_by(_budgets.c.scope, _budgets.c.name)).mappings()
    return [_set_budget(row) for row in rows]


def status(connection: Connection, one: SetBudget, now: float) -> BudgetStatus:
    """Return what is spent and lent of a budget in the window that holds `now`."""
    budget, window = one.budget, one.budget.window(now)
    book = _load(connection, budget, window)
    if book is None:
        return BudgetStatus(budget, window, taken(connection, budget, window), Amounts(), 0)
    return BudgetStatus(budget, window, book.spent, book.counted - book.spent, len(book.leases))


def take(connection: Connection, ask: TakeSlice, now: float) -> Slice:
    """Lend a slice, one asker at a time. A budget that is there no more lends what is needed.

    What the ledger has of the window when it is first asked for counts as spent.
    """
    query = sa.select(_budgets).where(*_of(_budgets, ask.scope, ask.name))
    row = connection.execute(query.with_for_update()).mappings().one_or_none()
    if row is None:
        return Slice(granted=ask.spent + ask.reserved + ask.need, verdict="lent")
    budget = _set_budget(row).budget
    book = _load(connection, budget, ask.window)
    if book is None:
        book = BudgetBook(budget.limit, settled=taken(connection, budget, ask.window))
        values = {"scope": ask.scope, "name": ask.name, "window": ask.window, "begun_at": now, "short_at": 0.0}
        connection.execute(_windows.insert().values(**values, **_columns("settled", book.settled)))
    is_new, short_at = ask.holder not in book.leases, book.short_at
    found = book.take(ask, now)
    base = taken(connection, budget, ask.window, ask.holder) if is_new else None
    _save_lease(connection, ask, book.leases[ask.holder], base)
    if book.short_at != short_at:
        _update_window(connection, budget, ask.window, {"short_at": book.short_at})
    return found


def settle(connection: Connection, holder: str) -> None:
    """End all leases of a holder whose calls are all in the ledger, and which makes no more."""
    keys = connection.execute(
        sa.select(_leases.c.scope, _leases.c.name, _leases.c.window).where(_leases.c.holder == holder)
    ).all()
    for scope, name, window in keys:
        query = sa.select(_budgets).where(*_of(_budgets, scope, name)).with_for_update()
        row = connection.execute(query).mappings().one_or_none()
        if row is None:
            continue
        budget = _set_budget(row).budget
        book = _load(connection, budget, window)
        if book is not None:
            mine = (*_of(_leases, scope, name, window), _leases.c.holder == holder)
            lease = connection.execute(sa.select(_leases).where(*mine)).mappings().one()
            book.settle(holder, taken(connection, budget, window, holder) - _read("base", lease))
            _update_window(connection, budget, window, _columns("settled", book.settled))
    connection.execute(_leases.delete().where(_leases.c.holder == holder))


def taken(connection: Connection, budget: Budget, window: float, holder: str | None = None) -> Amounts:
    """Return what the ledger's calls took of a budget in a window; those of unknown cost took all that was reserved."""
    c = calls.c
    columns = {"tenant": c.tenant, "program": c.program, "run": c.run_id, "agent": c.agent}
    chosen = [c.at >= window]
    if budget.scope != "all":
        chosen.append(columns[budget.scope] == budget.name)
    if holder is not None:
        chosen.append(c.holder == holder)
    if math.isfinite(end := budget.window_end(window)):
        chosen.append(c.at < end)
    sums = (
        sa.func.coalesce(sa.func.sum(sa.func.coalesce(c.cost_usd, c.reserved_usd, 0.0)), 0.0),
        sa.func.coalesce(sa.func.sum(sa.case((c.status == "cached", 0), else_=1)), 0),
        sa.func.coalesce(sa.func.sum(sa.func.coalesce(c.reserved_tokens, c.prompt_tokens + c.completion_tokens)), 0),
    )
    usd, count, tokens = connection.execute(sa.select(*sums).where(*chosen)).one()
    return Amounts(float(usd), int(count), int(tokens))


def _load(connection: Connection, budget: Budget, window: float) -> BudgetBook | None:
    """Return the book of a window, None before the first slice."""
    found = connection.execute(sa.select(_windows).where(*_of(_windows, budget.scope, budget.name, window)))
    row = found.mappings().one_or_none()
    if row is None:
        return None
    leases = connection.execute(sa.select(_leases).where(*_of(_leases, budget.scope, budget.name, window)))
    held = {
        one["holder"]: Lease(_read("granted", one), _read("spent", one), one["heard_at"]) for one in leases.mappings()
    }
    return BudgetBook(budget.limit, _read("settled", row), held, row["short_at"])


def _save_lease(connection: Connection, ask: TakeSlice, lease: Lease, base: Amounts | None) -> None:
    """Write a lease; a new one with what the ledger has of its holder already."""
    values = {**_columns("granted", lease.granted), **_columns("spent", lease.spent), "heard_at": lease.heard_at}
    if base is not None:
        key = {"scope": ask.scope, "name": ask.name, "window": ask.window, "holder": ask.holder}
        connection.execute(_leases.insert().values(**key, **values, **_columns("base", base)))
        return
    mine = (*_of(_leases, ask.scope, ask.name, ask.window), _leases.c.holder == ask.holder)
    connection.execute(_leases.update().where(*mine).values(values))


def _update_window(connection: Connection, budget: Budget, window: float, values: Mapping[str, float]) -> None:
    connection.execute(_windows.update().where(*_of(_windows, budget.scope, budget.name, window)).values(values))


def _of(table: sa.Table, scope: str, name: str, window: float | None = None) -> Sequence[sa.ColumnElement[bool]]:
    chosen = [table.c.scope == scope, table.c.name == name]
    return chosen if window is None else [*chosen, table.c.window == window]


def _set_budget(row: Mapping[Any, Any]) -> SetBudget:
    values = {name: row[name] for name in ("scope", "name", "usd", "calls", "tokens", "period", "unpriced")}
    return SetBudget(Budget(**values), row["set_at"])


def _columns(prefix: str, amounts: Amounts) -> dict[str, float]:
    return {f"{prefix}_usd": amounts.usd, f"{prefix}_calls": amounts.calls, f"{prefix}_tokens": amounts.tokens}


def _read(prefix: str, row: Mapping[Any, Any]) -> Amounts:
    return Amounts(row[f"{prefix}_usd"], row[f"{prefix}_calls"], row[f"{prefix}_tokens"])
