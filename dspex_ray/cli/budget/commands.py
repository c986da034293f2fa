"""The commands on hard budgets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from dspex_agents.clock import SystemClock
from dspex_ray.budgets.budget import Budget, named
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UnknownNameError
from dspex_ray.store import BudgetStatus, Store, open_store

Key = Annotated[
    str, typer.Argument(help="all, tenant:NAME, program:MODULE:CLASS, run:ID or agent:NAME.", metavar="BUDGET")
]
_PARTS = ("usd", "calls", "tokens")


def set_(
    budget: Key,
    usd: Annotated[float | None, typer.Option(help="At most so many US dollars.")] = None,
    calls: Annotated[int | None, typer.Option(help="At most so many model calls.")] = None,
    tokens: Annotated[int | None, typer.Option(help="At most so many tokens, of prompts and replies.")] = None,
    period: Annotated[str | None, typer.Option(help="total, or for each UTC day or month; total at first.")] = None,
    unpriced: Annotated[
        str | None, typer.Option(help="Calls of models without a known price: refuse (at first), or allow as free.")
    ] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Set a hard cap, or change what is given of one that is set.

    A call that could pass it is not sent and fails with an error; nothing is scored as wrong for it.
    """
    scope, name = named(budget)
    kept = open_store(store)
    given = {"usd": usd, "calls": calls, "tokens": tokens, "period": period, "unpriced": unpriced}
    changes: dict[str, Any] = {option: value for option, value in given.items() if value is not None}
    before = next((one.budget for one in kept.budgets() if one.budget.key == budget), None)
    wanted = Budget(scope=scope, name=name, **changes) if before is None else dataclasses.replace(before, **changes)
    kept.set_budget(wanted, now=SystemClock().now())
    _tell([_status(kept, wanted.key)], json=json)


def list_(store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """Show all hard caps and what is spent of them."""
    found = open_store(store).budget_statuses(now=SystemClock().now())
    if json:
        print_json({"budgets": [_json(one) for one in found]})
    elif found:
        _tell(found, json=False)
    else:
        out.print("No budget is set. Set one: dspex budget set all --usd 10 --period day", markup=False)


def show(budget: Key, store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """Show one hard cap and what is spent of it."""
    named(budget)
    _tell([_status(open_store(store), budget)], json=json)


def remove(budget: Key, store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """Remove a hard cap; what was spent stays in the ledger."""
    open_store(store).remove_budget(*named(budget))
    if json:
        print_json({"removed": budget})
        return
    out.print(f"Removed {budget}.", markup=False)


def _status(store: Store, key: str) -> BudgetStatus:
    found = store.budget_statuses(now=SystemClock().now())
    for one in found:
        if one.budget.key == key:
            return one
    raise UnknownNameError("budget", key, [one.budget.key for one in found])


def _tell(found: Sequence[BudgetStatus], *, json: bool) -> None:
    if json:
        print_json(_json(found[0]))
        return
    table = Table("budget", "cap", "since")
    for title in ("spent", "lent", "left"):
        table.add_column(title, justify="right")
    for one in found:
        since = "-" if one.budget.period == "total" else f"{datetime.fromtimestamp(one.window, UTC):%Y-%m-%d}"
        columns = [
            "\n".join(_figure(part, getattr(amounts, part)) for part in _capped(one))
            for amounts in (one.spent, one.out, one.left)
        ]
        table.add_row(one.budget.key, one.budget.caps(), since, *columns)
    out.print(table)


def _capped(one: BudgetStatus) -> list[str]:
    return [part for part in _PARTS if getattr(one.budget, part) is not None]


def _figure(part: str, value: float) -> str:
    return f"${value:,.4f}" if part == "usd" else f"{value:,} {part}"


def _json(one: BudgetStatus) -> dict[str, Any]:
    amounts = {
        word: {part: value for part in _PARTS if math.isfinite(value := getattr(figures, part))}
        for word, figures in (("spent", one.spent), ("lent", one.out))
    }
    left = {part: getattr(one.left, part) for part in _capped(one)}
    return {**one.budget.to_json(), "key": one.budget.key, "window": one.window, **amounts, "left": left}
