"""One search in a process of its own, begun or gone on with, on a model that answers a repeated request alike."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import dspex_ray as dspex
from dspex_coordination.sweep import SweepStore
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price
from dspex_ray.store import open_store
from optimizers_bench.model import SIZES
from optimizers_bench.ours_programs import PROGRAMS, Marks, rows_of
from optimizers_bench.tasks import TASKS, splits_of

RUN = "run-to-be-killed"


@dataclass(frozen=True)
class Seeded:
    """A model that is sent a seed with each request, so that asked again it says the same; repeats have their own."""

    inner: LM

    @property
    def model(self) -> str:
        return self.inner.model

    async def complete(self, request: LMRequest) -> LMReply:
        return await self.inner.complete(self._seeded(request))

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        async for chunk in self.inner.stream(self._seeded(request)):
            yield chunk

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _seeded(self, request: LMRequest) -> LMRequest:
        return replace(request, seed=request.rollout_id)


class OneRun:
    """Ids of one run only."""

    def new(self, _prefix: str) -> str:
        return RUN


def run(system: str, task: str, seed: int, url: str, budget: int, workers: int, store: str) -> dict[str, Any]:
    """Search, from the beginning or from where the store's run stopped; return what a resumed run must have alike."""
    cases, kept = splits_of(TASKS[task], seed), open_store(store)
    small, begun = SIZES["small"], SweepStore(kept.database).find(RUN) is not None
    paid = Price(small.usd_in * 1e-6, small.usd_out * 1e-6, small.usd_in * 1e-6)
    lm = OpenAICompatibleLM("openai/small", wire_model="small", base_url=url, api_key="unused", price=paid)
    found = dspex.optimize(
        PROGRAMS[task]().with_lm(Seeded(lm)),
        rows_of(TASKS[task], cases.train),
        validation=rows_of(TASKS[task], cases.validation),
        metric=Marks(task, [*cases.train, *cases.validation]),
        optimizer=system,
        trials=1000,
        stop=dspex.CallsSpent(budget),
        seed=seed,
        workers=workers,
        runtime="in-process",
        store=kept,
        ids=OneRun(),
        resume=RUN if begun else None,
    )
    trials = [[one.number, one.split, one.candidate.key, one.scores, one.failed] for one in found.history]
    totals, record = kept.totals(run_id=RUN), SweepStore(kept.database).load(RUN)
    return {
        "program": _digest([dict(found.program.values), dict(found.program.instructions)]),
        "scores": _digest(trials),
        "score": found.score,
        "trials": len(trials),
        "rows": record.rows,
        "bill of the rows": round(record.cost_usd, 9),
        "ledger": {"calls": totals.calls, "unknown": totals.unknown, "usd": round(totals.cost_usd, 9)},
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
