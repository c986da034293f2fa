"""Ours: `optimize(optimizer=...)` on the simulated model, in-process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from side import Figures

import dspex_ray as dspex
from dspex_ray.demos import DemoPool
from dspex_ray.example import make_example
from dspex_ray.lm.resolve import resolve_lm
from dspex_ray.program_optimizers.registry import PROGRAM_OPTIMIZERS
from dspex_ray.store import open_store
from optimizers_bench.ours_programs import PROGRAMS, Marks, rows_of
from optimizers_bench.tasks import TASKS, splits_of


def optimized(system: str, task: str, seed: int, urls: dict[str, str], budget: int, workers: int) -> Figures:
    """Search until so many calls are spent; return what the program found scores on the test cases.

    At most `workers` calls are made at once. `system` is an optimizer's name; with `+unordered` behind it the search
    waits for no slow trial, with `+each` every worker asks for as many rows at once as it does by itself.
    """
    name, *ways = system.split("+")
    cases = splits_of(TASKS[task], seed)
    metric = Marks(task, [*cases.train, *cases.validation, *cases.test])
    program = PROGRAMS[task]().with_lm(_lm(urls["counted"], workers * (16 if "each" in ways else 1)))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = dspex.optimize(
            program,
            rows_of(TASKS[task], cases.train),
            validation=rows_of(TASKS[task], cases.validation),
            metric=metric,
            optimizer=name,
            trials=1000,
            stop=dspex.CallsSpent(budget),
            seed=seed,
            workers=workers,
            reproducible="unordered" not in ways,
            runtime="in-process",
            store=open_store(f"sqlite:///{Path(folder) / 'store.db'}"),
        )
        spent_s = time.perf_counter() - started
        values = json.dumps(dict(found.program.values), sort_keys=True)
        chosen = {"validation": found.score, "program": hashlib.sha256(values.encode()).hexdigest()[:16]}
        return {"wall_s": spent_s, **chosen, **judged(found.program, task, seed, urls["aside"])}


def registered() -> list[str]:
    """Return the names of our optimizers of programs."""
    return list(PROGRAM_OPTIMIZERS)


def untuned(task: str, seed: int, urls: dict[str, str]) -> Figures:
    """Return what the program as it was written scores on the test cases."""
    return judged(PROGRAMS[task](), task, seed, urls["aside"])


def told(task: str, seed: int, urls: dict[str, str], instructions: dict[str, str], demos: int) -> Figures:
    """Return what the program scores with these instructions by place, and the first train cases as demonstrations."""
    cases = splits_of(TASKS[task], seed).train[:demos]
    pool = DemoPool(
        [make_example({TASKS[task].question: case.text}, TASKS[task].gold(case.facts), None) for case in cases]
    )
    program = PROGRAMS[task]()
    values = {f"{place}.instruction".lstrip("."): text for place, text in instructions.items()}
    if demos:
        program = program.with_demo_pool(pool)
        values["demos"] = {"select": "fixed", "ids": list(pool.ids)}
    return judged(program.with_values(values), task, seed, urls["aside"])


def judged(program: Any, task: str, seed: int, url: str) -> Figures:
    """Return the accuracy on the test cases."""
    cases = splits_of(TASKS[task], seed).test

    async def run() -> float:
        lm = _lm(url, 16)
        found = await dspex.aevaluate(
            program.with_lm(lm), rows_of(TASKS[task], cases), metric=Marks(task, cases), concurrency=16
        )
        await lm.aclose()
        return float(found.accuracy)

    return {"test": asyncio.run(run())}


def _lm(url: str, at_once: int) -> Any:
    return resolve_lm("openai/small", base_url=url, api_key="unused", limits=dspex.LMLimits(concurrency=at_once))
