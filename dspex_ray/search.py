"""A search as data: what `optimize` sends to the coordinator, and the sweep built from it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from dspex_coordination.optimizers import make_optimizer
from dspex_coordination.optimizers.base import SearchContext
from dspex_coordination.sweep import EvaluateRows, RowsEvaluated, Sweep, SweepStore
from dspex_ray.store import Store, insert_calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Everything a sweep is built from; pickles, since the coordinator builds it in its own process."""

    run_id: str
    store: Store
    optimizer: str
    context: SearchContext
    fingerprint: str
    chunk: int = 16
    budget_usd: float | None = None


def build_sweep(search: Search) -> Sweep:
    """Return the sweep; opening it starts or resumes the run. The calls of rows are kept with the rows."""
    return Sweep(
        run_id=search.run_id,
        store=SweepStore(search.store.database),
        optimizer=make_optimizer(search.optimizer, seed=search.context.seed, max_trials=search.context.max_trials),
        context=search.context,
        fingerprint=search.fingerprint,
        chunk=search.chunk,
        budget_usd=search.budget_usd,
        on_rows=_keep_calls,
    )


def _keep_calls(connection: Connection, evaluated: RowsEvaluated, _work: EvaluateRows) -> None:
    rows: tuple[dict[str, Any], ...] = evaluated.records
    insert_calls(connection, rows)
