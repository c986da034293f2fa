"""Three ways to search a prompt, numbers and models in as many calls: together, one after the other, over a pool."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from side import Figures

import dspex_ray as dspex
from dspex_ray.demos import DemoPool
from dspex_ray.store import open_store
from optimizers_bench.joint_pool import made_pool
from optimizers_bench.joint_programs import (
    HELD,
    MODELS,
    MOST_USD,
    Order,
    OrderNumbers,
    OrderPrompt,
    connect,
    disconnect,
)
from optimizers_bench.model import SIZES
from optimizers_bench.ours_programs import Marks, rows_of
from optimizers_bench.server import World
from optimizers_bench.tasks import TASKS, splits_of

_BOUND = dspex.Bound("cost_usd", at_most=MOST_USD)


@dataclass(frozen=True)
class _Given:
    """What a search is given: the cases, the metric, the server, the calls, the seed and how many are asked at once."""

    train: Sequence[Mapping[str, Any]]
    validation: Sequence[Mapping[str, Any]]
    metric: Any
    server: World
    budget: int
    seed: int
    workers: int


def optimized(system: str, task: str, seed: int, urls: dict[str, str], budget: int, workers: int) -> Figures:
    """Search until so many calls are spent; return what the program found scores and costs on the test cases.

    `system` is `together:<optimizer>`, `one_after_the_other:<optimizer>` or `optuna_pool`.
    """
    cases = splits_of(TASKS[task], seed)
    metric = Marks(task, [*cases.train, *cases.validation])
    train, validation = (rows_of(TASKS[task], one) for one in (cases.train, cases.validation))
    given = _Given(train, validation, metric, World(urls["counted"].removesuffix("/v1")), budget, seed, workers)
    connect(urls["counted"], workers)
    way, _, name = system.partition(":")
    started = time.perf_counter()
    if way == "optuna_pool":
        found = asyncio.run(_optuna(given))
    else:
        found = _together(given, name) if way == "together" else _one_after_the_other(given, name)
    spent_s = time.perf_counter() - started
    connect(urls["aside"], 16)
    judged = asyncio.run(_judged(found, rows_of(TASKS[task], cases.test), Marks(task, cases.test)))
    cost = judged.cost_usd / judged.rows
    chosen = {name: value for name, value in found.values.items() if not name.endswith(("demos", "instruction"))}
    return {
        "wall_s": spent_s,
        "test": judged.accuracy * min(1.0, MOST_USD / cost),
        "accuracy": judged.accuracy,
        "usd": cost,
        "chosen": chosen,
    }


def _together(given: _Given, name: str) -> Any:
    return _searched(given, Order(), name, given.budget)


def _one_after_the_other(given: _Given, name: str) -> Any:
    """Search the prompt with half of the calls, and with the other half all else for this prompt."""
    HELD.keep(_searched(given, OrderPrompt(), name, given.budget // 2).answer)
    left = given.budget - given.server.counted()["calls"]
    return _searched(given, OrderNumbers(), "beacon", left)


def _searched(given: _Given, program: dspex.Program, name: str, budget: int) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return dspex.optimize(
            program.with_lm(MODELS["small"]),
            list(given.train),
            validation=list(given.validation),
            metric=given.metric,
            bounds=[_BOUND],
            optimizer=name,
            trials=1000,
            stop=dspex.CallsSpent(budget),
            seed=given.seed,
            workers=given.workers,
            runtime="in-process",
            store=open_store(f"sqlite:///{Path(folder) / 'store.db'}"),
        ).program


async def _optuna(given: _Given) -> Any:
    """Choose by TPE among a fixed pool of prompts, and all else; a trial is the whole validation split."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = dspex.load_data(list(given.train), Order)
    made = Order().with_demo_pool(DemoPool(data.examples))
    pool = await made_pool(Order(), data, given.metric, MODELS["small"], given.seed)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(multivariate=True, seed=given.seed)
    )
    best, found = (False, -1.0), made
    while given.server.counted()["calls"] < given.budget:
        trial = study.ask()
        values = _suggested(trial, pool)
        scored = await _evaluated(made.with_values(values), given.validation, given.metric, given.workers)
        over = scored.cost_usd / scored.rows - MOST_USD
        trial.set_constraint("cost_usd", over)
        study.tell(trial, scored.accuracy)
        if (over <= 0, scored.accuracy) > best:
            best, found = (over <= 0, scored.accuracy), made.with_values(values)
    await disconnect()
    return found


def _suggested(trial: optuna.Trial, pool: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    chosen = {name: held[trial.suggest_categorical(name, list(range(len(held))))] for name, held in pool.items()}
    return {
        **chosen,
        "answer.temperature": trial.suggest_float("temperature", 0.0, 1.5),
        "style": trial.suggest_categorical("style", ["direct", "reasoned"]),
        "size": trial.suggest_categorical("size", list(SIZES)),
    }


async def _judged(found: Any, rows: Sequence[Mapping[str, Any]], metric: Any) -> Any:
    judged = await _evaluated(found, rows, metric, 16)
    await disconnect()
    return judged


async def _evaluated(program: Any, rows: Sequence[Mapping[str, Any]], metric: Any, at_once: int) -> Any:
    return await dspex.aevaluate(program.with_lm(MODELS["small"]), list(rows), metric=metric, concurrency=at_once)
