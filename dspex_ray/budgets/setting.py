"""Setting hard budgets from code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dspex_agents.clock import Clock, SystemClock
from dspex_ray.budgets.budget import Budget, named
from dspex_ray.store import BudgetStatus, Store, open_store


def set_budget(budget: Budget, store: Store | str | None = None, *, clock: Clock | None = None) -> None:
    """Set a hard cap in the store (see `open_store`), or change the one of the same scope and name.

    It holds for every call made under a ledger of that store: in agents, endpoints, commands and within `ledger()`.
    Running processes heed it within five seconds. What the store's ledger has of the period counts as spent.
    """
    with _opened(store) as kept:
        kept.set_budget(budget, now=(clock or SystemClock()).now())


def remove_budget(key: str, store: Store | str | None = None) -> None:
    """Remove the cap of `tenant:NAME`, `program:MODULE:CLASS`, `run:ID`, `agent:NAME` or `all`.

    Raises UnknownNameError if it is not there.
    """
    with _opened(store) as kept:
        kept.remove_budget(*named(key))


def budget_statuses(store: Store | str | None = None, *, clock: Clock | None = None) -> list[BudgetStatus]:
    """Return all caps with what is spent and lent of them."""
    with _opened(store) as kept:
        return kept.budget_statuses(now=(clock or SystemClock()).now())


@contextmanager
def _opened(store: Store | str | None) -> Iterator[Store]:
    if isinstance(store, Store):
        yield store
        return
    opened = open_store(store)
    try:
        yield opened
    finally:
        opened.database.close()
