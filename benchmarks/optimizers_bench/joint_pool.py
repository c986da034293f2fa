"""The pool of Optuna's side: texts and demonstrations made as our joint search makes them, before the first trial."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import Told
from dspex_coordination.optimizers.draws import seeded
from dspex_ray.data import Dataset
from dspex_ray.demos import DemoPool
from dspex_ray.errands import run_errand
from dspex_ray.evaluation import RowScore, evaluate_rows
from dspex_ray.lm.base import LM
from dspex_ray.metrics import Metric
from dspex_ray.program_optimizers.bootstrapped import harvested
from dspex_ray.program_optimizers.proposals import accepted_instruction, proposal_errands
from dspex_ray.program_optimizers.proposals_evidence import attempts_by_place
from dspex_ray.program_optimizers.sketch import ProgramSketch
from dspex_ray.programs.program import Program

_LOOKS, _LOOK_ROWS, _PROPOSALS, _SETS = 2, 32, 5, 2


async def made_pool(
    program: Program, train: Dataset, metric: Metric, writer: LM, seed: int
) -> Mapping[str, Sequence[Any]]:
    """Return what there is to choose from, by the names of the instruction and of the demonstrations.

    The program as it is written is looked at twice, on other train rows each time.
    """
    sketch = ProgramSketch.of(program, train.examples)
    (call,) = sketch.predictors
    pool, texts, made = DemoPool(train.examples), [call.instruction], list[Any]()
    for look in range(_LOOKS):
        rng = seeded(seed, "look", look)
        rows = sorted(rng.sample(range(len(train)), min(_LOOK_ROWS, len(train))))
        shown = program.with_demo_pool(pool)
        scores = await evaluate_rows(shown, [train.examples[row] for row in rows], metric, rows=rows, traced=True)
        told = _told(look, rows, scores)
        made += [one.demo for one in harvested(sketch, told).demos]
        attempts = attempts_by_place(sketch, told).get(call.place, ())
        asked = proposal_errands(
            sketch, call, present=call.instruction, attempts=attempts, count=_PROPOSALS, seed=f"{seed}:{look}"
        )
        for answer in await asyncio.gather(*(run_errand(one, writer) for one in asked), return_exceptions=True):
            text = None if isinstance(answer, BaseException) else accepted_instruction(answer, sketch, texts)
            texts += [] if text is None else [text]
    return {call.instruction_name: texts, str(call.demos_name): _sets(call.most_demos, pool.ids, made, seed)}


def _sets(most: int, ids: Sequence[str], made: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Return none, and nearest, labelled and own ones: half as many as may be shown, and as many."""
    rng, sizes = seeded(seed, "sets"), (most // 2, most)
    sets: list[dict[str, Any]] = [{"select": "fixed", "ids": []}]
    for size in sizes:
        sets.append({"select": "nearest", "k": size})
        sets += [{"select": "fixed", "ids": rng.sample(ids, size)} for _ in range(_SETS)]
        if len(made) >= size:
            sets += [{"select": "given", "demos": rng.sample(made, size)} for _ in range(_SETS)]
    return sets


def _told(number: int, rows: Sequence[int], scores: Sequence[RowScore]) -> Told:
    return Told(
        number=number,
        candidate=Candidate({}),
        split="train",
        rows=tuple(rows),
        scores=tuple(one.score for one in scores),
        outputs=tuple(one.output for one in scores),
        cost_usd=0.0,
        failed=None,
        notes=tuple({"error": one.error, "feedback": one.feedback, "trace": one.steps} for one in scores),
    )
