"""Sweeps: how busy workers are kept, what recording an evaluation costs, and how fast a large run is opened again."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from harness import Row

from dspex_agents import (
    AgentContext,
    ChildSpec,
    CoordinatorAgent,
    RunPlan,
    SupervisorSpec,
    SystemSpec,
    TaskAgent,
    start_local_system,
)
from dspex_agents.database import Database
from dspex_agents.roles.plan import Outcome
from dspex_coordination import Float, RowResult, RowsEvaluated, SearchContext, Space, Sweep, SweepStore
from dspex_coordination.optimizers import make_optimizer
from dspex_coordination.sweep import EvaluateRows, SweepSettings

WORKERS = 16
MEDIAN_S, SIGMA = 0.3, 0.8  # a log-normal latency
ROWS = 50  # a trial
_ANSWER_S = 600.0


class Scorer:
    """A worker that takes a log-normal time for each row when `median_s` is above 0, and notes when it was busy."""

    median_s: ClassVar[float] = 0.0
    busy: ClassVar[list[tuple[float, float, int]]] = []

    async def start(self, context: AgentContext) -> None:
        """Nothing to prepare."""

    async def perform(self, payload: EvaluateRows) -> RowsEvaluated:
        """Score rows one by one."""
        rows, begun = [], time.perf_counter()
        for row in payload.rows:
            rng = random.Random(f"{payload.trial}:{row}")
            if self.median_s:
                await asyncio.sleep(self.median_s * rng.lognormvariate(0.0, SIGMA))
            rows.append(RowResult(row, float(rng.random() < 0.5), {"answer": row}, 0.001, 0.3))
        if self.median_s:
            self.busy.append((begun, time.perf_counter(), len(rows)))
        return RowsEvaluated(tuple(rows))

    async def stop(self) -> None:
        """Nothing to clean up."""


def search(
    url: str, run_id: str, trials: int, rows: int, settings: Mapping[str, Any], validation: str = "bench"
) -> Sweep:
    """Return a sweep; random search takes no time of its own."""
    context = SearchContext(Space({"x": Float(0.0, 1.0)}), 1, trials, (), None, 0, validation_rows=rows)
    return Sweep(
        run_id=run_id,
        store=SweepStore(Database(url)),
        optimizer=make_optimizer("random", seed=1, max_trials=trials),
        context=context,
        fingerprint=json.dumps({"data": validation}),
        settings=SweepSettings(**settings),
    )


def measure(busy: int, overhead: int, recorded: int) -> list[Row]:
    """Return the rows: over so many evaluations with latency, without, and recorded ones."""
    with tempfile.TemporaryDirectory() as folder:
        return [
            _utilisation(f"sqlite:///{folder}/busy.db", busy),
            *(_overhead(f"sqlite:///{folder}/{chunk}.db", overhead, chunk) for chunk in (1, 16)),
            *_reopened(Path(folder) / "large.db", recorded),
        ]


def _run(url: str, evaluations: int, chunk: int) -> float:
    """Run a sweep by a coordinator over 16 task agents in this process; return the seconds it took."""
    names = tuple(f"w{i}" for i in range(WORKERS))
    agents = [ChildSpec(id=name, start=TaskAgent, kwargs={"worker": Scorer, "concurrency": 1}) for name in names]
    boss = ChildSpec(id="coordinator", start=CoordinatorAgent, kwargs={"members": names}, host="boss")
    spec = SystemSpec(name="bench-sweep", supervisor=SupervisorSpec(id="top", children=(*agents, boss)))
    trials = max(1, evaluations // ROWS)
    settings = {"chunk": chunk, "workers": WORKERS}
    kwargs = {"url": url, "run_id": "r", "trials": trials, "rows": ROWS, "settings": settings}
    with start_local_system(spec) as system:
        begun = time.perf_counter()
        result = system.ask("coordinator", RunPlan("r", search, kwargs), timeout_s=_ANSWER_S)
        took = time.perf_counter() - begun
    if result.status != "finished" or len(result.trials) != trials:
        raise RuntimeError(f"the sweep ended as {result.status} with {len(result.trials)} trials")
    return took


def _utilisation(url: str, evaluations: int) -> Row:
    Scorer.median_s, Scorer.busy = MEDIAN_S, []
    try:
        _run(url, evaluations, chunk=16)
    finally:
        Scorer.median_s = 0.0
    spans = sorted(Scorer.busy, key=lambda span: span[1])
    total, done, end = sum(rows for *_, rows in spans), 0, spans[-1][1]
    for _, stop, rows in spans:
        done += rows
        if done >= 0.95 * total:
            end = stop
            break
    begun = min(start for start, *_ in spans)
    worked = sum(min(stop, end) - start for start, stop, _ in spans if start < end)
    share = worked / (WORKERS * (end - begun))
    measure = f"sweep: utilisation of {WORKERS} workers until 95 % of {total} rows are done"
    return Row(measure, round(100 * share, 1), "%", "95", share >= 0.95)


def _overhead(url: str, evaluations: int, chunk: int) -> Row:
    _run(url.replace(".db", "-warm.db"), ROWS, chunk)
    each_ms = 1000 * _run(url, evaluations, chunk) / (evaluations // ROWS * ROWS)
    measure = f"sweep: journal and routing of one evaluation, SQLite, units of at most {chunk}"
    return Row(measure, round(each_ms, 3), "ms", "1", each_ms <= 1.0)


def _reopened(path: Path, recorded: int) -> list[Row]:
    rows = 500
    trials = recorded // rows
    sweep = search(f"sqlite:///{path}", "large", trials + 1, rows, {"chunk": 100, "max_pending_trials": 1})
    sweep.open()
    scorer = Scorer()
    while sweep.progress()["trials_done"] < trials:
        for work in sweep.pull(8, time.time()):
            sweep.push([Outcome(work.id, asyncio.run(scorer.perform(work.payload)), worker="w")], time.time())
    command = [sys.executable, __file__, f"sqlite:///{path}", str(trials + 1), str(rows)]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    described = {name: round(found[name], 3) for name in ("open_s", "list_s")}
    if found["rows"] < recorded:
        raise RuntimeError(f"{found['rows']} rows were listed instead of {recorded}")
    took, memory = found["open_s"] + found["list_s"], found["peak_mb"]
    what = f"sweep: {recorded:,} recorded evaluations"
    return [
        Row(f"{what}: open, resume, list", round(took, 2), "s", "3", took <= 3.0, described),
        Row(f"{what}: peak memory of the process", round(memory), "MB", "300", memory <= 300),
    ]


def _reopen(url: str, trials: int, rows: int) -> dict[str, float]:
    """Open a large run, take its next unit, and list it, in a process of its own."""
    begun = time.perf_counter()
    sweep = search(url, "large", trials, rows, {"chunk": 100})
    sweep.open()
    if not sweep.pull(1, time.time()):
        raise RuntimeError("the run is not resumed")
    opened = time.perf_counter()
    store = SweepStore(Database(url))
    (record,) = store.list_sweeps()
    store.trials("large")
    store.rows("large", limit=1000)
    return {
        "open_s": opened - begun,
        "list_s": time.perf_counter() - opened,
        "rows": record.rows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


FULL = {"busy": 1600, "overhead": 4000, "recorded": 100_000}
QUICK = {"busy": 400, "overhead": 500, "recorded": 5000}

if __name__ == "__main__":
    print(json.dumps(_reopen(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
