"""A toy search: a space with demonstrations, a deterministic evaluation, and a driver with any number of workers."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
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
from dspex_coordination.sweep.life import LOOK_S

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
        self.lost_with: Callable[[Work, str], Outcome | None] = lambda *_: None
        self.slowed: Callable[[Work, str, float], float] = lambda _work, _worker, latency: latency
        self.busy_s = self.elapsed_s = 0.0

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

    def simulate(self, sweep: Sweep, *, workers: int, seed: int = 0, until: float = 1e9) -> SweepResult | None:
        """Run on so many workers, each busy with one unit at a time for a random while; the clock is virtual.

        None if the sweep is not finished when the clock reaches `until`, in seconds.
        """
        rng = random.Random(seed)
        idle, now, ends = [f"w{i}" for i in range(workers)], 1000.0, list[tuple[float, int, Work, str, float]]()
        everyone, backlog, number = frozenset(idle), list[Work](), 0
        while not sweep.finished():
            sweep.revisit(now)
            backlog += sweep.pull(len(idle) - len(backlog), now)
            for work in list(backlog):
                able = [one for one in idle if one not in work.avoid or work.avoid >= everyone]
                if not able:
                    continue
                backlog.remove(work)
                idle.remove(able[0])
                number += 1
                latency = sum(0.3 * math.exp(0.8 * rng.gauss(0, 1)) for _ in work.payload.rows)
                heapq.heappush(ends, (now + self.slowed(work, able[0], latency), number, work, able[0], now))
            if not ends or min(ends[0][0], now + LOOK_S) >= until:
                return None
            if ends[0][0] > now + LOOK_S:
                now += LOOK_S
                continue
            now, _, work, worker, since = heapq.heappop(ends)
            idle.append(worker)
            outcome = replace(self.evaluate(work), worker=worker, duration_s=now - since)
            self.busy_s += now - since
            sweep.push([self.lost_with(work, worker) or outcome], now)
        self.elapsed_s = now - 1000.0
        return sweep.result()

    def run(self, **options: Any) -> SweepResult:
        """Open a sweep and run it to its end."""
        driver = {key: options.pop(key) for key in ("crew", "order") if key in options}
        sweep = self.sweep(**options)
        sweep.open()
        result = self.drive(sweep, **driver)
        assert result is not None
        return result

    def decisions(self, run_id: str = "run-1") -> list[tuple[str, int | None, str]]:
        """The journal without its times."""
        return [(e.kind, e.trial, json.dumps(dict(e.data), sort_keys=True)) for e in self.store.events(run_id)]

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
