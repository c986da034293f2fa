"""Real sweeps in a store, driven in process: what the tests of `dspex sweeps` look at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.database import Database
from dspex_agents.roles.plan import Outcome, Work
from dspex_coordination import (
    Bool,
    Choice,
    Float,
    RowResult,
    RowsEvaluated,
    SearchContext,
    Space,
    Sweep,
    SweepStore,
    make_optimizer,
)
from dspex_coordination.sweep import SweepSettings

ROWS = 20
FINGERPRINT = {"program": "shop:Route", "validation": "v1", "metric": "exact"}
VARIABLES: dict[str, Any] = {
    "model": Choice(["small", "large"]),
    "heat": Float(0.0, 1.0),
    "terse": Bool(),
}
_PRICE = {"small": 0.001, "large": 0.01}

Fault = Callable[[Work], Outcome | None]


def chance(*parts: Any) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def evaluate(work: Work) -> Outcome:
    """Score each row: large models and little heat are better; one row in ten of a terse candidate raises."""
    values = work.payload.candidate_values
    ease = (0.85 if values["model"] == "large" else 0.55) - 0.3 * values["heat"]
    rows = []
    for row in work.payload.rows:
        error = "ValueError: no JSON" if values["terse"] and row % 10 == 3 else None
        score = 0.0 if error else float(chance(json.dumps(values, sort_keys=True), row) < ease)
        rows.append(RowResult(row, score, {"text": f"answer {row}"}, _PRICE[values["model"]], 0.2 + row / 100, error))
    return Outcome(work.id, RowsEvaluated(tuple(rows)), worker="w1")


def sweep_of(
    store: SweepStore,
    run_id: str = "run-1",
    *,
    trials: int = 12,
    seed: int = 1,
    variables: dict[str, Any] | None = None,
    fingerprint: dict[str, Any] | None = None,
    clock: Clock | None = None,
) -> Sweep:
    """Return a sweep that is not open yet."""
    return Sweep(
        run_id=run_id,
        store=store,
        optimizer=make_optimizer("random", seed=seed, max_trials=trials),
        context=SearchContext(Space(variables or VARIABLES), seed, trials, (), None, 0, validation_rows=ROWS),
        fingerprint=json.dumps(fingerprint or FINGERPRINT),
        settings=SweepSettings(chunk=10),
        clock=clock or SystemClock(),
    )


def drive(sweep: Sweep, *, fault: Fault | None = None, units: int | None = None, clock: Clock | None = None) -> None:
    """Evaluate units one by one until the sweep ends, or so many are done."""
    now = (clock or SystemClock()).now
    while not sweep.finished() and units != 0:
        for work in sweep.pull(1, now()):
            outcome = fault(work) if fault is not None else None
            sweep.push([outcome or evaluate(work)], now())
        units = None if units is None else units - 1


def fill(
    path: Path, run_id: str = "run-1", *, fault: Fault | None = None, units: int | None = None, **options: Any
) -> None:
    """Run a sweep into the store at `path` to its end, or until so many units are done."""
    database = Database(str(path))
    try:
        sweep = sweep_of(SweepStore(database), run_id, **options)
        sweep.open()
        drive(sweep, fault=fault, units=units, clock=options.get("clock"))
    finally:
        database.close()
