"""NSGA-II beside Optuna's and pymoo's: hypervolume on ZDT1-4, ZDT6 and DTLZ2, and the time of an ask.

All sides have the defaults of their makers, the same number of evaluations and the same seeds; each is judged by all
points it evaluated. Our trial 0, the default, is a random point here, as the others have none. The reference point is
the worst of 1,000 random points in each objective; pymoo computes the volumes, as a share of that of the true front.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from harness import Row
from pymoo.algorithms.moo import nsga2 as pymoo_nsga2
from pymoo.indicators.hv import HV
from pymoo.problems import get_problem

from dspex_coordination import Bool, Choice, Float, Int, SearchContext, Space, Told
from dspex_coordination.conditions import V
from dspex_coordination.objectives import Objective
from dspex_coordination.optimizers.nsga2 import NSGA2

Points = npt.NDArray[np.float64]
PROBLEMS = ("zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "dtlz2")
REFERENCE_POINTS = 1000
RESAMPLES = 2000


def measure(seeds: int, evaluations: int, asks: int) -> list[Row]:
    """Return a row for each problem, one for all of them, and two for the time of an ask."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sides = {"ours": ours, "optuna": optunas, "pymoo": pymoos, "pymoo, population of 20": small_pymoos}
    rows: list[Row] = []
    unbeaten = 0
    for name in PROBLEMS:
        volume = share_of(name)
        figures = {
            side: [volume(run(problem(name), evaluations, seed)) for seed in range(seeds)]
            for side, run in sides.items()
        }
        described = {side: described_median(values) for side, values in figures.items()}
        mine = described["ours"]["median"]
        holds = all(mine >= described[side]["median"] for side in ("optuna", "pymoo"))
        unbeaten += mine >= max(side["median"] for side in described.values())
        measured = f"hypervolume, {name}, {evaluations} evaluations, {seeds} seeds"
        rows.append(Row(measured, mine, "of the true front's", "at least Optuna's and pymoo's", holds, described))
    rows.append(Row("problems on which none of these has more hypervolume", unbeaten, f"of {len(PROBLEMS)}"))
    for kind, space in (("20 numbers", numbers()), ("20 variables of all kinds", mixed())):
        took = ask_ms(space, asks)
        rows.append(Row(f"nsga2: ask with 1,000 finished trials, {kind}", round(took, 3), "ms", "1", took <= 1.0))
    return rows


def described_median(values: Sequence[float]) -> dict[str, float]:
    """Return the median and its 95 % bootstrap interval."""
    resampled = np.random.Generator(np.random.PCG64(0)).choice(np.array(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.median(resampled, axis=1), [0.025, 0.975])
    return {"median": round(statistics.median(values), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def problem(name: str) -> Any:
    """Return pymoo's problem: 30 variables for ZDT1-3, 10 for ZDT4 and 6, 12 and 3 objectives for DTLZ2."""
    return get_problem(name, n_var=12, n_obj=3) if name == "dtlz2" else get_problem(name)


def share_of(name: str) -> Callable[[Points], float]:
    """Return what gives the hypervolume of points as a share of that of the true front."""
    one = problem(name)
    drawn = np.random.Generator(np.random.PCG64(1)).uniform(one.xl, one.xu, (REFERENCE_POINTS, one.n_var))
    reference = one.evaluate(drawn).max(axis=0)
    indicator = HV(ref_point=reference)
    if name == "dtlz2":  # the front is an eighth of the unit sphere
        whole = float(reference.prod()) - math.pi / 6
    else:
        fine = {"n_points": 10_000} if name == "zdt3" else {"n_pareto_points": 10_000}
        whole = float(indicator(one.pareto_front(use_cache=False, **fine)))
    return lambda points: float(indicator(points)) / whole


def ours(one: Any, evaluations: int, seed: int) -> Points:
    """Run the optimizer of this library."""
    rng = random.Random(seed)
    bounds = list(zip(one.xl.tolist(), one.xu.tolist(), strict=True))
    space = Space({f"x{i}": Float(low, high, default=rng.uniform(low, high)) for i, (low, high) in enumerate(bounds)})
    optimizer, points = NSGA2(), list[Points]()
    optimizer.start(context(space, seed, evaluations, one.n_obj))
    for number in range(evaluations):
        ask = optimizer.ask(0)
        if ask is None:
            raise RuntimeError(f"no ask {number} of {evaluations}")
        point = np.array([ask.candidate.values[name] for name in space.names])
        points.append(one.evaluate(point[None])[0])
        optimizer.tell(told(number, ask.candidate, points[-1].tolist()))
    return np.array(points)


def optunas(one: Any, evaluations: int, seed: int) -> Points:
    """Run Optuna's sampler."""
    sampler = optuna.samplers.NSGAIISampler(seed=seed)
    study = optuna.create_study(directions=["minimize"] * one.n_obj, sampler=sampler)
    points = list[Points]()
    for _ in range(evaluations):
        trial = study.ask()
        point = [trial.suggest_float(f"x{i}", one.xl[i], one.xu[i]) for i in range(one.n_var)]
        points.append(one.evaluate(np.array([point]))[0])
        study.tell(trial, points[-1].tolist())
    return np.array(points)


def small_pymoos(one: Any, evaluations: int, seed: int) -> Points:
    """Run pymoo's algorithm with our size of population: not its default and in no bar, but good to know."""
    return pymoos(one, evaluations, seed, population=20)


def pymoos(one: Any, evaluations: int, seed: int, population: int = 100) -> Points:
    """Run pymoo's algorithm."""
    algorithm, points = pymoo_nsga2.NSGA2(pop_size=population), list[Points]()
    algorithm.setup(one, termination=("n_eval", evaluations), seed=seed, verbose=False)
    while algorithm.has_next():
        asked = algorithm.ask()
        algorithm.evaluator.eval(one, asked)
        points.append(asked.get("F").copy())
        algorithm.tell(infills=asked)
    return np.vstack(points)[:evaluations]


def context(space: Space, seed: int, trials: int, objectives: int) -> SearchContext:
    """Return a search that makes f0, f1, ... small."""
    goals = tuple(Objective(f"f{i}", "minimize") for i in range(objectives))
    return SearchContext(space, seed, trials, (), None, 0, 1, goals)


def told(number: int, candidate: Any, values: Sequence[float]) -> Told:
    """Return the result of a trial."""
    measures = {f"f{i}": value for i, value in enumerate(values)}
    return Told(number, candidate, "validation", (0,), (0.0,), (None,), 0.0, None, measures)


def numbers() -> Space:
    """Return 20 real axes."""
    return Space({f"x{i}": Float(0.0, 1.0) for i in range(20)})


def mixed() -> Space:
    """Return 20 variables: numbers, choices, flags, and some that are active under a condition only."""
    return Space(
        {f"flag{i}": Bool() for i in range(4)}
        | {f"depth{i}": Int(1, 9, when=V(f"flag{i}") == True) for i in range(4)}  # noqa: E712 - a condition, no test
        | {f"model{i}": Choice(["a", "b", "c"]) for i in range(4)}
        | {f"x{i}": Float(1e-3, 1.0, log=True) for i in range(8)}
    )


def ask_ms(space: Space, asks: int) -> float:
    """Return the median time of an ask, in milliseconds, once 1,000 trials are finished."""
    optimizer, took = NSGA2(), list[float]()
    optimizer.start(context(space, 1, 1000 + asks, 2))
    for number in range(1000 + asks):
        start = time.perf_counter()
        ask = optimizer.ask(0)
        took.append(time.perf_counter() - start)
        if ask is None:
            raise RuntimeError(f"no ask {number}")
        x = ask.candidate.values
        optimizer.tell(told(number, ask.candidate, [x["x0"], 1.0 - x["x0"] + x["x1"]]))
    return 1000 * statistics.median(took[1000:])


FULL = {"seeds": 15, "evaluations": 2000, "asks": 500}
QUICK = {"seeds": 3, "evaluations": 300, "asks": 100}
