"""One objective: BEACON, genetic and random search beside Optuna's samplers, and the time of an ask.

All sides have the defaults of their makers. A batch is asked as a whole and then told as a whole. What counts is the
simple regret after all trials: the true loss of the trial that looked best, above the least there is (1e-8 at least).
Optuna's GP takes seconds a run, so it is measured on every third seed, and only where torch is there.
"""

from __future__ import annotations

import importlib.util
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from harness import Row

from coordination_bench.multi_objective import mixed, numbers
from coordination_bench.problems import Problem, Values, problem
from dspex_coordination import Bool, Choice, Float, Int, SearchContext, Space, Told
from dspex_coordination.objectives import Objective
from dspex_coordination.optimizers import Genetic, Optimizer, RandomSearch
from dspex_coordination.optimizers.beacon import Beacon

Runs = dict[tuple[str, int, int], dict[str, float]]  # (suite, batch, seed): regret by side

SUITES = ("bbob-2", "bbob-5", "bbob-10", "mixint-5", "mixint-10", "conditional", "conditional-noisy")
LEAST = 1e-8
RESAMPLES = 2000
OURS: dict[str, Callable[[], Optimizer]] = {"beacon": Beacon, "genetic": Genetic, "random": RandomSearch}
PEERS: dict[str, Callable[[int], Any]] = {
    "optuna tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "optuna gp": lambda seed: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    "optuna nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "optuna random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
HAS_TORCH = importlib.util.find_spec("torch") is not None


def measure(seeds: int, trials: int, batches: Sequence[int], gp_every: int, asks: int) -> list[Row]:
    """Return the rows on quality, then those on time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of what is new in it
        runs = {
            (suite, batch, seed): _regrets(suite, batch, seed, trials, with_gp=HAS_TORCH and seed % gp_every == 0)
            for suite in SUITES
            for batch in batches
            for seed in range(seeds)
        }
    how = f"{trials} trials, {seeds} seeds"
    return [*_quality(runs, how), *_suites(runs, how), *_times(asks)]


def _quality(runs: Runs, how: str) -> Iterator[Row]:
    ratio = interval(grouped(runs, lambda one: one["beacon"] / one["optuna tpe"]), np.median)
    bar, middle = 0.7, ratio["value"]
    measured = f"beacon: simple regret, all suites and batches, {how}"
    yield Row(measured, middle, "of TPE's, median", f"{bar:g}", middle <= bar, ratio)
    yield _rank(f"beacon: mean rank without GP, {how}", runs, [side for side in (*OURS, *PEERS) if side != "optuna gp"])
    with_gp = {key: one for key, one in runs.items() if "optuna gp" in one}
    if with_gp:
        yield _rank(f"beacon: mean rank in the {len(with_gp)} runs with GP", with_gp, [*OURS, *PEERS])
    for mine, theirs in (("genetic", "optuna nsga2"), ("random", "optuna random")):
        wins = interval(grouped(runs, partial(_win, mine, theirs)), np.mean)
        measured = f"{mine}: share of runs in which it beats {theirs}, {how}"
        yield Row(measured, wins["value"], "", "0.5 within the interval", wins["high"] >= 0.5, wins)


def _rank(measured: str, runs: Runs, sides: Sequence[str]) -> Row:
    ranks = {side: interval(grouped(runs, partial(_place, side, sides)), np.mean) for side in sides}
    best = min(ranks, key=lambda side: ranks[side]["value"])
    notes: dict[str, Any] = dict(ranks) if HAS_TORCH else {**ranks, "optuna gp": "not measured: no torch"}
    return Row(measured, ranks["beacon"]["value"], f"of {len(sides)}", "the least of all", best == "beacon", notes)


def _suites(runs: Runs, how: str) -> Iterator[Row]:
    for suite, batch in dict.fromkeys((suite, batch) for suite, batch, _ in runs):
        some = {key: one for key, one in runs.items() if key[:2] == (suite, batch)}
        with_gp = [one for one in some.values() if "optuna gp" in one]
        ratio = interval(grouped(some, lambda one: one["beacon"] / one["optuna tpe"]), np.median)
        notes: dict[str, Any] = dict(ratio)
        notes["median regrets"] = {
            side: _short(statistics.median(one[side] for one in some.values()))
            for side in (*OURS, *PEERS)
            if side != "optuna gp"
        }
        if with_gp:
            against = statistics.median(one["beacon"] / one["optuna gp"] for one in with_gp)
            notes |= {"of GP's, median": _short(against), "runs with GP": len(with_gp)}
        measured = f"beacon: simple regret, {suite}, batch {batch}, {how}"
        yield Row(measured, ratio["value"], "of TPE's, median", None, None, notes)


def _times(asks: int) -> Iterator[Row]:
    for kind, space in (("20 numbers", numbers()), ("20 variables of all kinds", mixed())):
        for name, bar in (("beacon", 50.0), ("genetic", 1.0), ("random", 1.0)):
            took = ask_ms(OURS[name], space, asks)
            holds = took["value"] <= bar
            yield Row(
                f"{name}: ask with 1,000 finished trials, {kind}", took["value"], "ms, median", f"{bar:g}", holds, took
            )


def _regrets(suite: str, batch: int, seed: int, trials: int, *, with_gp: bool) -> dict[str, float]:
    one = problem(suite, seed)
    regrets = {name: ours(one, make(), seed, batch, trials) for name, make in OURS.items()}
    for name, sampler in PEERS.items():
        if with_gp or name != "optuna gp":
            regrets[name] = optunas(one, sampler(seed), seed, batch, trials)
    return regrets


class _Search:
    """What is seen of a problem in one run."""

    def __init__(self, one: Problem, seed: int) -> None:
        self._problem, self._draw = one, random.Random(seed)
        self._seen, self._true = float("inf"), float("inf")

    def observed(self, values: Values) -> float:
        """Return the loss that a trial sees."""
        seen = self._problem.observe(values, self._draw)
        if seen < self._seen:
            self._seen, self._true = seen, self._problem.loss(values)
        return seen

    @property
    def regret(self) -> float:
        """The true loss of the trial that looked best, above the least there is."""
        return max(LEAST, self._true - self._problem.best)


def ours(one: Problem, optimizer: Optimizer, seed: int, batch: int, trials: int) -> float:
    """Return the regret of an optimizer of this library."""
    search = _Search(one, seed)
    optimizer.start(context(one.space, seed, trials))
    for start in range(0, trials, batch):
        asked = [(number, optimizer.ask(number - start)) for number in range(start, min(start + batch, trials))]
        for number, ask in asked:
            assert ask is not None
            optimizer.tell(told(number, ask.candidate, search.observed(ask.candidate.values)))
    return search.regret


def optunas(one: Problem, sampler: Any, seed: int, batch: int, trials: int) -> float:
    """Return the regret of a sampler of Optuna."""
    search, study = _Search(one, seed), optuna.create_study(sampler=sampler)
    for start in range(0, trials, batch):
        asked = [study.ask() for _ in range(start, min(start + batch, trials))]
        suggested = [(trial, suggest(one.space, trial)) for trial in asked]
        for trial, values in suggested:
            study.tell(trial, search.observed(values))
    return search.regret


def suggest(space: Space, trial: Any) -> Values:
    """Return the values that a trial of Optuna takes; it is asked for the active variables only."""
    values: dict[str, Any] = {}
    for name in space.order:
        variable = space.variables[name]
        if name not in space.active(values):
            values[name] = variable.default
        elif isinstance(variable, Float):
            values[name] = trial.suggest_float(name, variable.low, variable.high, log=variable.log)
        elif isinstance(variable, Int):
            values[name] = trial.suggest_int(name, variable.low, variable.high, log=variable.log)
        elif isinstance(variable, Choice) and variable.ordered:  # Optuna has no ordered choices
            values[name] = variable.options[trial.suggest_int(name, 0, len(variable.options) - 1)]
        else:
            options = [False, True] if isinstance(variable, Bool) else list(variable.grid(99))
            values[name] = trial.suggest_categorical(name, options)
    return values


def context(space: Space, seed: int, trials: int) -> SearchContext:
    """Return a search that makes the measure `loss` small."""
    return SearchContext(space, seed, trials, (), None, 0, 1, (Objective("loss", "minimize"),))


def told(number: int, candidate: Any, loss: float) -> Told:
    """Return the result of a trial."""
    return Told(number, candidate, "validation", (0,), (0.0,), (None,), 0.0, None, {"loss": loss})


def ask_ms(make: Callable[[], Optimizer], space: Space, asks: int) -> dict[str, float]:
    """Return the median and the 95th percentile of the time of an ask once 1,000 trials are finished, in ms."""
    rng = random.Random(1)
    drawn = list({one.key: one for one in (space.default(), *(space.sample(rng) for _ in range(1000)))}.values())
    optimizer, took = make(), list[float]()
    optimizer.start(
        SearchContext(space, 1, 2000 + asks, (), None, 0, 1, (Objective("loss", "minimize"),), (), tuple(drawn[1:]))
    )
    for number in range(len(drawn) + asks):
        start = time.perf_counter()
        ask = optimizer.ask(0)
        took.append(1000 * (time.perf_counter() - start))
        assert ask is not None
        x = ask.candidate.values
        optimizer.tell(told(number, ask.candidate, sum((x[f"x{i}"] - 0.1 * i) ** 2 for i in range(8))))
    late = sorted(took[len(drawn) :])
    return {"value": _short(statistics.median(late)), "p95": _short(late[int(0.95 * (len(late) - 1))])}


def grouped(runs: Runs, figure: Callable[[Mapping[str, float]], float]) -> list[list[float]]:
    """Return the figure of each run, those of one problem in batches of other sizes together."""
    problems: dict[tuple[str, int], list[float]] = {}
    for (suite, _, seed), one in runs.items():
        problems.setdefault((suite, seed), []).append(figure(one))
    return list(problems.values())


def _win(mine: str, theirs: str, one: Mapping[str, float]) -> float:
    return 0.5 if one[mine] == one[theirs] else float(one[mine] < one[theirs])


def _place(side: str, sides: Sequence[str], one: Mapping[str, float]) -> float:
    """Return the rank of a side; equal regrets share a rank."""
    below = sum(one[other] < one[side] for other in sides)
    equal = sum(one[other] == one[side] for other in sides)
    return below + (equal + 1) / 2


def interval(groups: Sequence[Sequence[float]], of: Callable[..., Any]) -> dict[str, float]:
    """Return a figure of all values and its 95 % bootstrap interval; groups, all of one size, are drawn as a whole."""
    values, rng = np.array(groups), np.random.Generator(np.random.PCG64(0))
    drawn = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].reshape(RESAMPLES, -1)
    low, high = np.quantile(of(drawn, axis=1), [0.025, 0.975])
    return {"value": _short(float(of(values))), "low": _short(float(low)), "high": _short(float(high))}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


FULL: dict[str, Any] = {"seeds": 15, "trials": 100, "batches": (1, 4, 16), "gp_every": 3, "asks": 100}
QUICK: dict[str, Any] = {"seeds": 1, "trials": 30, "batches": (4,), "gp_every": 1, "asks": 10}
