"""Problems with a known best value: bbob and bbob-mixint of COCO, and a conditional space of our own."""

from __future__ import annotations

import contextlib
import functools
import math
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocoex
import numpy as np

from dspex_coordination import Bool, Choice, Float, Int, Space
from dspex_coordination.conditions import V

Values = Mapping[str, Any]

FUNCTIONS = 24
BBOB_FROM, MIXINT_FROM = 100, 15  # instances above these are measured; the engine was tuned on lower ones
ROWS = 30  # of the noisy problem, each right or wrong
STRATEGIES = ("direct", "chain", "vote", "retrieve")
MODELS = ("a", "b", "c", "d")
STYLES = ("plain", "terse", "formal", "warm", "steps")


@dataclass(frozen=True)
class Problem:
    """Make `loss` small over `space`; `best` is the least there is. `observe` is what a trial sees of it."""

    space: Space
    loss: Callable[[Values], float]
    best: float
    observe: Callable[[Values, random.Random], float]


def problem(suite: str, seed: int) -> Problem:
    """Return the seed-th problem of a suite: `bbob-5`, `mixint-10`, `conditional` or `conditional-noisy`.

    Another seed is another function and instance of the suite. The default is a random point: others have none.
    """
    kind, _, dims = suite.partition("-")
    if kind == "conditional":
        return conditional(seed, noisy=dims == "noisy")
    function = (5 * seed + int(dims)) % FUNCTIONS + 1
    return bbob(function, int(dims), seed) if kind == "bbob" else mixint(function, int(dims), seed)


def bbob(function: int, dims: int, seed: int) -> Problem:
    """Return a continuous problem."""
    one = cocoex.BareProblem("bbob", function, dims, BBOB_FROM + seed)
    rng = random.Random(seed)
    space = Space({f"x{i}": Float(-5.0, 5.0, default=rng.uniform(-5.0, 5.0)) for i in range(dims)})
    return _exact(space, lambda values: float(one(np.array([values[f"x{i}"] for i in range(dims)]))), one.best_value())


@functools.cache
def _mixint_suite() -> Any:
    return cocoex.Suite("bbob-mixint", "instances: 1-60", "dimensions: 5,10")


def mixint(function: int, dims: int, seed: int) -> Problem:
    """Return a problem of which four in five variables are integers, of 2, 4, 8 or 16 values."""
    one = _mixint_suite().get_problem_by_function_dimension_instance(function, dims, MIXINT_FROM + seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        one._best_parameter("print")  # noqa: SLF001 - the only way to learn it, and by a file
        best = float(one(np.loadtxt(next(Path(folder).iterdir()))))
    rng, whole = random.Random(seed), one.number_of_integer_variables
    bounds = list(zip(one.lower_bounds.tolist(), one.upper_bounds.tolist(), strict=True))
    space = Space(
        {f"x{i}": Int(int(a), int(b), default=rng.randint(int(a), int(b))) for i, (a, b) in enumerate(bounds[:whole])}
        | {f"x{i}": Float(a, b, default=rng.uniform(a, b)) for i, (a, b) in enumerate(bounds[whole:], whole)}
    )
    return _exact(space, lambda values: float(one(np.array([float(values[f"x{i}"]) for i in range(dims)]))), best)


def conditional(seed: int, *, noisy: bool) -> Problem:
    """Return a made-up tuning task: 13 variables of all kinds, 6 of them active under one strategy only.

    What is right for one variable depends on others, hidden from the search: heat on strategy and model, the length on
    the strategy, the number of steps on the length, the voters on the heat. A loss of 0 is there. With noise a trial
    sees on how many of 30 rows it was right.
    """
    rng = random.Random(seed)
    is_chain, is_vote = V("strategy") == "chain", V("strategy") == "vote"
    is_retrieve = V("strategy") == "retrieve"
    space = Space(
        {
            "strategy": Choice(STRATEGIES, default=rng.choice(STRATEGIES)),
            "model": Choice(MODELS, default=rng.choice(MODELS)),
            "style": Choice(STYLES, default=rng.choice(STYLES)),
            "heat": Float(0.0, 2.0, default=rng.uniform(0.0, 2.0)),
            "top": Float(0.1, 1.0, default=rng.uniform(0.1, 1.0)),
            "tokens": Choice([128, 256, 512, 1024, 2048, 4096], ordered=True),
            "penalty": Float(-2.0, 2.0, default=rng.uniform(-2.0, 2.0)),
            "steps": Int(1, 12, when=is_chain),
            "voters": Int(1, 15, when=is_vote),
            "agreement": Float(0.0, 1.0, when=is_vote),
            "passages": Int(1, 50, log=True, when=is_retrieve),
            "threshold": Float(1e-3, 1.0, log=True, when=is_retrieve),
            "rerank": Bool(when=is_retrieve),
        }
    )
    loss = _hidden(rng)
    if not noisy:
        return _exact(space, loss, 0.0)
    return Problem(space, loss, 0.0, lambda values, draw: _wrong(loss(values), draw))


def _hidden(rng: random.Random) -> Callable[[Values], float]:
    good = {name: rng.choice(options) for name, options in (("strategy", STRATEGIES), ("model", MODELS))}
    apart = {(s, m): rng.uniform(0.1, 0.8) for s in STRATEGIES for m in MODELS} | {tuple(good.values()): 0.0}
    style = {(m, y): rng.uniform(0.05, 0.4) for m in MODELS for y in STYLES}
    style |= {(m, rng.choice(STYLES)): 0.0 for m in MODELS}
    heat = {pair: rng.uniform(0.1, 1.9) for pair in apart}
    length = {s: rng.randint(0, 5) for s in STRATEGIES}
    top, penalty, spread = rng.uniform(0.2, 0.95), rng.uniform(-1.5, 1.5), rng.uniform(0.2, 0.8)
    steps, passages, threshold, rerank = (
        rng.randint(1, 7),
        rng.randint(2, 40),
        rng.uniform(-6.0, -1.0),
        rng.random() < 0.5,
    )

    def loss(x: Values) -> float:
        strategy, pair = x["strategy"], (x["strategy"], x["model"])
        size = math.log2(x["tokens"]) - 7
        warm = x["heat"] - heat[pair]
        total = (
            apart[pair] + style[x["model"], x["style"]] + 0.4 * _dip(2.0 * warm) + 0.06 * abs(size - length[strategy])
        )
        total += 0.5 * abs(x["top"] - top - 0.2 * warm) + 0.2 * _dip(x["penalty"] - penalty)
        if strategy == "chain":
            total += 0.04 * abs(x["steps"] - steps - size + length[strategy])
        if strategy == "vote":
            total += 0.3 * _dip((x["voters"] - round(1 + 7 * x["heat"])) / 3) + 0.4 * abs(x["agreement"] - spread)
        if strategy == "retrieve":
            total += 0.2 * _dip(math.log(x["passages"] / passages)) + 0.04 * abs(math.log(x["threshold"]) - threshold)
            total += 0.15 * (x["rerank"] != rerank)
        return total

    return loss


def _dip(away: float) -> float:
    """Return 0 at 0, rising to 1 on both sides: far away nothing tells where it is."""
    return 1.0 - math.exp(-away * away)


def _wrong(loss: float, draw: random.Random) -> float:
    right = math.exp(-loss)
    return 1.0 - sum(draw.random() < right for _ in range(ROWS)) / ROWS


def _exact(space: Space, loss: Callable[[Values], float], best: float) -> Problem:
    return Problem(space, loss, best, lambda values, _: loss(values))
