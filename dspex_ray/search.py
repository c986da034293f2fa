"""A search as data: what `optimize` sends to the coordinator, and the sweep built from it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from dspex_coordination.errors import CoordinationError
from dspex_coordination.optimizers import make_optimizer
from dspex_coordination.optimizers.base import Optimizer, SearchContext
from dspex_coordination.sweep import EvaluateRows, RowsEvaluated, StopRule, Sweep, SweepSettings, SweepStore
from dspex_ray.errors import UsageError
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS, make_program_optimizer
from dspex_ray.program_optimizers.sketch import ProgramSketch
from dspex_ray.store import Store, insert_calls

CLOSING_ROWS: Final = 60
"""Train rows, at most, that the best is scored on at the end, so that its gap to validation rows is known."""


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
    stop: StopRule | None = None
    workers: int | None = None
    max_pending_trials: int | None = None
    reproducible: bool = True
    sketch: ProgramSketch | None = None
    """For an optimizer of programs."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of the optimizer, by name."""


def build_sweep(search: Search) -> Sweep:
    """Return the sweep; opening it starts or resumes the run. The calls of rows are kept with the rows."""
    settings = SweepSettings(
        chunk=search.chunk,
        workers=search.workers,
        max_pending_trials=search.max_pending_trials,
        reproducible=search.reproducible,
        budget_usd=search.budget_usd,
        stop=search.stop,
        closing_rows=CLOSING_ROWS,
    )
    return Sweep(
        run_id=search.run_id,
        store=SweepStore(search.store.database),
        optimizer=_optimizer(search, search.context.max_trials),
        context=search.context,
        fingerprint=search.fingerprint,
        settings=settings,
        on_rows=_keep_calls,
        remake=partial(_optimizer, search),
    )


def require_tunable(search: Search) -> None:
    """Raise UsageError if the optimizer cannot be set so or cannot search this; of programs with those that can."""
    try:
        made = _optimizer(search, search.context.max_trials)
    except CoordinationError as error:
        raise UsageError(str(error)) from error
    try:
        made.start(search.context)
    except CoordinationError as error:
        able = [name for name in PROGRAM_OPTIMIZERS if search.sketch is not None and _can_start(search, name)]
        others = f" This search can be done by {', '.join(able)}." if able else ""
        raise UsageError(f"{error}{others}") from error


def _can_start(search: Search, name: str) -> bool:
    try:
        _optimizer(replace(search, optimizer=name, settings={}), search.context.max_trials).start(search.context)
    except CoordinationError:
        return False
    return True


def _optimizer(search: Search, trials: int) -> Optimizer:
    seed, settings = search.context.seed, search.settings
    if search.sketch is not None:
        return make_program_optimizer(search.optimizer, search.sketch, seed=seed, max_trials=trials, settings=settings)
    return make_optimizer(search.optimizer, seed=seed, max_trials=trials, settings=settings)


def _keep_calls(connection: Connection, evaluated: RowsEvaluated, _work: EvaluateRows) -> None:
    rows: tuple[dict[str, Any], ...] = evaluated.records
    insert_calls(connection, rows)
