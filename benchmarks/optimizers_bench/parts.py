"""The parts of the benchmark: each asks for its cells and makes rows of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness import Row

from optimizers_bench.cells import DSPY, Cell, Cells
from optimizers_bench.server import Weather
from optimizers_bench.tasks import TASKS

_NOMINAL = 8 * 416 + 7 * 120
"""Rows that SIMBA runs with its defaults on 120 examples, cached ones included."""
_SHARES = (1 / 3, 1.0)
SECONDARY = ("bootstrap_few_shot", "labelled_few_shot")
"""Our optimizers that are measured on the first two seeds only, so that a whole run takes an hour."""
_LATENCY = Weather(median_s=0.1, sigma=0.8)
_WAYS = {"": "at most 16 calls at once", "+each+unordered": "not reproducible"}
"""How ours runs beside the way it does by itself, 16 workers of up to 16 rows each: see `ours_side`."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and where it is kept."""

    cells: Cells
    tasks: Sequence[str]
    seeds: Sequence[int]
    ours: Sequence[str]
    at_once: int = 2

    def of(self, name: str) -> Plan:
        """Return what is measured of one of our optimizers."""
        chosen = replace(self, seeds=self.seeds[:2], ours=[name]) if name in SECONDARY else replace(self, ours=[name])
        if name != "labelled_few_shot":
            return chosen
        # labels are of whole programs, so there is nothing to show to the two calls of `two_hop`
        return replace(chosen, tasks=[task for task in self.tasks if len(TASKS[task].calls) == 1])


def untuned(plan: Plan) -> list[Row]:
    """Return what the programs score as they are written, asked by us and by DSPy."""
    rows = []
    for task in plan.tasks:
        mine, theirs = (
            [plan.cells.figures(Cell(side, "untuned", task, seed, 0))["test"] for seed in plan.seeds]
            for side in ("ours_side", "dspy_side")
        )
        rows.append(Row(f"untuned accuracy, {task}", _mean(mine), "share", peers={"DSPy": _mean(theirs)}))
    return rows


def accuracy(plan: Plan) -> list[Row]:
    """Return the accuracy at the calls that SIMBA makes, and the calls to reach SIMBA's accuracy."""
    _fill(plan)
    rows = list[Row]()
    for name in plan.ours:
        rows += _against_dspy(plan.of(name), name)
    return rows


def _fill(plan: Plan) -> None:
    """Measure several cells at once, those of SIMBA first, whose calls the others are given."""
    runs = [(task, seed) for task in plan.tasks for seed in plan.seeds]
    plan.cells.fill([_simba(task, seed) for task, seed in runs], plan.at_once)
    theirs = [
        Cell("dspy_side", system, *run, _budget(plan, *run)) for run in runs for system in DSPY if system != "simba"
    ]
    mine = [
        _mine(plan, name, task, seed, share)
        for share in reversed(_SHARES)
        for name in plan.ours
        for task in plan.tasks
        for seed in plan.of(name).seeds
    ]
    plan.cells.fill([*theirs, *mine], plan.at_once)


def _against_dspy(plan: Plan, name: str) -> list[Row]:
    rows, gaps, reached = list[Row](), list[float](), list[bool]()
    for task in plan.tasks:
        theirs = {system: _dspy(plan, system, task) for system in DSPY}
        curve = {share: _ours(plan, name, task, share) for share in _SHARES}
        best = max(theirs.values())
        gaps.append(curve[1.0] - best)
        share = next((share for share, found in curve.items() if found >= theirs["simba"]), math.inf)
        reached.append(share <= _SHARES[0])
        peers = {
            **{f"DSPy {system}": found for system, found in theirs.items()},
            **{f"ours at {share:.2f} of the calls": found for share, found in curve.items()},
            "SIMBA's accuracy reached at": "not reached" if math.isinf(share) else f"{share:.2f} of its calls",
        }
        label = f"{name}: accuracy at equal calls, {task}"
        rows.append(Row(label, curve[1.0], "share", f"at least {best}", curve[1.0] >= best, peers))
    gap, all_reached = _mean(gaps), all(reached)
    third = round(sum(reached) / len(reached), 4)
    return [
        *rows,
        Row(f"{name}: mean lead over the best of DSPy's three", gap, "share", "above 0", gap > 0),
        Row(f"{name}: tasks with SIMBA's accuracy in a third of its calls", third, "of all", "all", all_reached),
    ]


def wall_time(plan: Plan) -> list[Row]:
    """Return the time a call beside SIMBA's, with 16 workers here and 16 threads there, and log-normal latency.

    A worker of ours asks for up to 16 rows at once, as it does by itself. Beside it the same with at most 16 calls at
    once, as many as SIMBA's threads can make, and where no slow trial is waited for.
    """
    rows = []
    for name in plan.ours:
        seeds = plan.of(name).seeds[:3]
        found = [_beside_simba(plan, f"{name}+each", seed) for seed in seeds]
        ratio = round(statistics.median(one[0] for one in found), 4)
        peers = {words: round(_beside_simba(plan, f"{name}{way}", seeds[0])[0], 4) for way, words in _WAYS.items()}
        peers["calls in flight on average, ours and SIMBA's"] = [_mean([one[at] for one in found]) for at in (1, 2)]
        label = f"{name}: time a call, beside SIMBA's"
        rows.append(Row(label, ratio, "of SIMBA's", "at most 0.33", ratio <= 1 / 3, peers))
    return rows


def _beside_simba(plan: Plan, system: str, seed: int) -> tuple[float, float, float]:
    """Return our wall time a call as a share of SIMBA's, at as many calls, and how many each had in flight."""
    theirs = plan.cells.figures(Cell("dspy_side", "simba", plan.tasks[0], seed, _NOMINAL // 3, 16, _LATENCY))
    budget = theirs["counted"]["calls"]
    mine = plan.cells.figures(Cell("ours_side", system, plan.tasks[0], seed, budget, 16, _LATENCY))
    each = [one["wall_s"] / one["counted"]["calls"] for one in (mine, theirs)]
    mean_s = _LATENCY.median_s * math.exp(_LATENCY.sigma**2 / 2)
    return each[0] / each[1], mean_s / each[0], mean_s / each[1]


def faults(plan: Plan) -> list[Row]:
    """Return how often the chosen program is the same when a fifth of the requests fails; and how SIMBA then does."""
    task, weathers = plan.tasks[0], (Weather(), Weather(fault_rate=0.2))
    theirs = [Cell("dspy_side", "simba", task, plan.seeds[0], _NOMINAL // 3, 8, one) for one in weathers]
    peers = {
        "test accuracy of DSPy SIMBA's, without and with faults": [plan.cells.figures(one)["test"] for one in theirs]
    }
    rows = []
    for name in plan.ours:
        same = []
        for seed in plan.of(name).seeds:
            cells = [Cell("ours_side", name, task, seed, 1000, 8, weather) for weather in weathers]
            calm, stormy = (plan.cells.figures(cell) for cell in cells)
            same.append(calm["program"] == stormy["program"])
        share = round(sum(same) / len(same), 4)
        rows.append(Row(f"{name}: same program with 20 % faults", share, "of seeds", "1", share == 1.0, peers))
    return rows


def _simba(task: str, seed: int) -> Cell:
    calls = len(TASKS[task].calls)
    return Cell("dspy_side", "simba", task, seed, _NOMINAL * calls)


def _budget(plan: Plan, task: str, seed: int) -> int:
    return int(plan.cells.figures(_simba(task, seed))["counted"]["calls"])


def _dspy(plan: Plan, system: str, task: str) -> float:
    found = []
    for seed in plan.seeds:
        simba = _simba(task, seed)
        cell = simba if system == "simba" else Cell("dspy_side", system, task, seed, _budget(plan, task, seed))
        found.append(plan.cells.figures(cell)["test"])
    return _mean(found)


def _ours(plan: Plan, name: str, task: str, share: float) -> float:
    cells = [_mine(plan, name, task, seed, share) for seed in plan.seeds]
    return _mean([plan.cells.figures(cell)["test"] for cell in cells])


def _mine(plan: Plan, name: str, task: str, seed: int, share: float) -> Cell:
    return Cell("ours_side", name, task, seed, int(share * _budget(plan, task, seed)))


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 4)
