"""A toy search: a space with demonstrations, a deterministic evaluation, and a driver with any number of workers."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from dspex_agents.clock import ManualClock
from dspex_agents.database import Database
from dspex_agents.roles.plan import Outcome, Work
from dspex_coordination import (
    Bool,
    Demos,
    EvaluateRows,
    Float,
    RowResult,
    RowsEvaluated,
    SearchContext,
    Space,
    Sweep,
    SweepResult,
    SweepStore,
    make_optimizer,
)
from dspex_coordination.sweep import SweepSettings

FINGERPRINT = json.dumps({"program": "p1", "data": "d1"})


def chance(*parts: Any) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


class Toy:
    """One search over one store; `evaluated` lists every (trial, row) that a worker was given."""

    def __init__(self, database: Database) -> None:
        self.store = SweepStore(database)
        self.optimizer = "bootstrap"
        self.seed, self.trials = 7, 7
        self.variables: dict[str, Any] = {"temperature": Float(0.0, 1.0), "demos": Demos(max=4), "terse": Bool()}
        self.train_rows, self.validation_rows = 12, 10
        self.evaluated: list[tuple[int, int]] = []
        self.fault: Callable[[Work], Outcome | None] = lambda _: None

    def context(self) -> SearchContext:
        ids = tuple(f"t{i}" for i in range(self.train_rows))
        labels = tuple(f"label {i % 3}" for i in range(self.train_rows))
        space = Space(self.variables)
        return SearchContext(
            space, self.seed, self.trials, ids, labels, self.train_rows, validation_rows=self.validation_rows
        )

    def sweep(self, **options: Any) -> Sweep:
        names = {field.name for field in fields(SweepSettings)}
        how = {"chunk": 4} | {key: options.pop(key) for key in list(options) if key in names}
        defaults: dict[str, Any] = {
            "run_id": "run-1",
            "store": self.store,
            "optimizer": make_optimizer(self.optimizer, seed=self.seed, max_trials=self.trials),
            "context": self.context(),
            "fingerprint": FINGERPRINT,
            "settings": SweepSettings(**how),
            "clock": ManualClock(1000.0),
        }
        return Sweep(**{**defaults, **options})

    def evaluate(self, work: Work) -> Outcome:
        payload: EvaluateRows = work.payload
        self.evaluated += [(payload.trial, row) for row in payload.rows]
        fault = self.fault(work)
        if fault is not None:
            return fault
        ease = 0.9 if payload.candidate_values["demos"]["select"] == "nearest" else 0.4
        values = json.dumps(payload.candidate_values, sort_keys=True)
        rows = tuple(
            RowResult(row, float(chance(values, payload.split, row) < ease), {"text": f"answer {row}"}, 0.1 + row / 7)
            for row in payload.rows
        )
        return Outcome(work.id, RowsEvaluated(rows, ({"unit": work.id, "rows": len(rows)},)), worker="w")

    def drive(self, sweep: Sweep, *, crew: int = 1, order: int = 0, pushes: int | None = None) -> SweepResult | None:
        """Run until finished, or until so many pushes were made; units end in an order drawn from `order`."""
        rng = random.Random(order)
        busy: list[Work] = []
        while not sweep.finished():
            busy += sweep.pull(crew - len(busy), 1.0)
            if pushes == 0:
                return None
            assert busy, "a sweep that is not finished and has nothing in flight must hand out work"
            batch = [busy.pop(rng.randrange(len(busy))) for _ in range(rng.randint(1, len(busy)))]
            sweep.push([self.evaluate(work) for work in batch], 2.0)
            pushes = None if pushes is None else pushes - 1
        return sweep.result()

    def run(self, **options: Any) -> SweepResult:
        """Open a sweep and run it to its end."""
        driver = {key: options.pop(key) for key in ("crew", "order") if key in options}
        sweep = self.sweep(**options)
        sweep.open()
        result = self.drive(sweep, **driver)
        assert result is not None
        return result

    def recorded(self, run_id: str = "run-1") -> set[tuple[int, int]]:
        return {(row.trial, row.result.row) for row in self.store.rows(run_id)}


@pytest.fixture
def make_toy(tmp_path: Path) -> Iterator[Callable[[], Toy]]:
    databases: list[Database] = []

    def make() -> Toy:
        databases.append(Database(str(tmp_path / f"store-{len(databases)}.db")))
        return Toy(databases[-1])

    yield make
    for database in databases:
        database.close()


@pytest.fixture
def toy(make_toy: Callable[[], Toy]) -> Toy:
    return make_toy()
