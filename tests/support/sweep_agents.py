"""Task agents that score rows of a toy search, and the sweep they work for; importable in every process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from dspex_agents import AgentContext, ChildSpec, CoordinatorAgent, TaskAgent
from dspex_agents.database import Database
from dspex_agents.teamwork.team import WorkSettings
from dspex_coordination import Bool, Float, RowResult, RowsEvaluated, SearchContext, Space, Sweep, SweepStore
from dspex_coordination.optimizers import make_optimizer
from dspex_coordination.sweep import EvaluateRows, SweepSettings

VARIABLES: dict[str, Any] = {"heat": Float(0.0, 1.0), "terse": Bool()}


def score_of(values: Mapping[str, Any], row: int) -> RowResult:
    """Score a row by candidate and row alone; every row costs a cent."""
    text = json.dumps(dict(values), sort_keys=True) + str(row)
    chance = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
    return RowResult(row, float(chance > values["heat"] * 0.7), {"row": row}, 0.01)


class RowScorer:
    """A worker that takes `pause_s` seconds a row; who is first to have the row `stuck` hangs until `gate` is set."""

    pause_s: ClassVar[float] = 0.0
    stuck: ClassVar[int | None] = None
    hung: ClassVar[list[str]] = []
    gate: ClassVar[threading.Event] = threading.Event()
    scored: ClassVar[Counter[tuple[str, int, int]]] = Counter()
    begun: ClassVar[Counter[str]] = Counter()

    async def start(self, context: AgentContext) -> None:
        """Learn whose worker it is."""
        self._name = context.name

    async def perform(self, payload: EvaluateRows) -> RowsEvaluated:
        """Score the rows one by one."""
        rows = []
        self.begun[payload.run_id] += 1
        for row in payload.rows:
            if row == self.stuck and not self.hung:
                self.hung.append(self._name)
                while not self.gate.is_set():  # noqa: ASYNC110 - set from another thread
                    await asyncio.sleep(0.01)
            await asyncio.sleep(self.pause_s)
            self.scored[payload.run_id, payload.trial, row] += 1
            rows.append(score_of(payload.candidate_values, row))
        return RowsEvaluated(tuple(rows))

    async def stop(self) -> None:
        """Nothing is open."""
        return

    @classmethod
    def reset(cls, pause_s: float = 0.0) -> None:
        """Forget all of an earlier test."""
        cls.pause_s, cls.stuck, cls.hung, cls.gate = pause_s, None, [], threading.Event()
        cls.scored, cls.begun = Counter(), Counter()


class SlowScorer(RowScorer):
    """A row takes 20 ms, in a process of its own as well."""

    pause_s: ClassVar[float] = 0.02


def search(
    url: str,
    run_id: str,
    *,
    optimizer: str = "random",
    trials: int = 6,
    rows: int = 12,
    settings: SweepSettings | None = None,
) -> Sweep:
    """Return a sweep on the store at `url`; a `build` of `RunPlan`."""
    context = SearchContext(Space(VARIABLES), 5, trials, (), None, 0, validation_rows=rows)
    return Sweep(
        run_id=run_id,
        store=SweepStore(Database(url)),
        optimizer=make_optimizer(optimizer, seed=5, max_trials=trials),
        context=context,
        fingerprint=json.dumps({"data": rows}),
        settings=settings or SweepSettings(chunk=3),
    )


def team(
    count: int, worker: type = RowScorer, *, room: int = 2, concurrency: int = 1, alone: bool = False
) -> list[ChildSpec]:
    """Return task agents `w1`, `w2`, ..., each in a process of its own if `alone`, and a coordinator `coord`."""
    names = tuple(f"w{i + 1}" for i in range(count))
    kwargs = {"worker": worker, "concurrency": concurrency}
    isolation: Literal["own", "shared"] = "own" if alone else "shared"
    scorers = [ChildSpec(id=name, start=TaskAgent, kwargs=kwargs, isolation=isolation) for name in names]
    boss = {"members": names, "work": WorkSettings(room=room, refresh_s=0.1)}
    return [*scorers, ChildSpec(id="coord", start=CoordinatorAgent, kwargs=boss, host="boss")]
