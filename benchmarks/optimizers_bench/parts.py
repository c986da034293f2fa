"""The parts of the benchmark: each asks for its cells and makes rows of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness import Row

from optimizers_bench.cells import DSPY, Cell, Cells
from optimizers_bench.server import Weather
from optimizers_bench.tasks import TASKS

_NOMINAL = 8 * 416 + 7 * 120
"""Rows that SIMBA runs with its defaults on 120 examples, cached ones included."""
_SHARES = (1 / 12, 1 / 6, 1 / 3, 1.0)
_LATENCY = Weather(median_s=0.05, sigma=0.8)


@dataclass(frozen=True)
class Plan:
    """What is measured, and where it is kept."""

    cells: Cells
    tasks: Sequence[str]
    seeds: Sequence[int]
    ours: Sequence[str]


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
    rows = list[Row]()
    for name in plan.ours:
        rows += _against_dspy(plan, name)
    return rows


def _against_dspy(plan: Plan, name: str) -> list[Row]:
    rows, gaps, reached = list[Row](), list[float](), list[bool]()
    for task in plan.tasks:
        theirs = {system: _dspy(plan, system, task) for system in DSPY}
        curve = {share: _ours(plan, name, task, share) for share in _SHARES}
        best = max(theirs.values())
        gaps.append(curve[1.0] - best)
        share = next((share for share, found in curve.items() if found >= theirs["simba"]), math.inf)
        reached.append(share <= _SHARES[2])
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
    """Return the wall time at equal calls, 16 at once, with log-normal latency of 50 ms and sigma 0.8."""
    rows = []
    for name in plan.ours:
        ratios = []
        for task in plan.tasks[:1]:
            for seed in plan.seeds[:3]:
                peer = plan.cells.figures(Cell("dspy_side", "simba", task, seed, _NOMINAL // 3, 16, _LATENCY))
                budget = peer["counted"]["calls"]
                mine = plan.cells.figures(Cell("ours_side", name, task, seed, budget, 16, _LATENCY))
                each = mine["wall_s"] / mine["counted"]["calls"], peer["wall_s"] / budget
                ratios.append(each[0] / each[1])
        ratio = round(statistics.median(ratios), 4)
        rows.append(Row(f"{name}: time a call, beside SIMBA's", ratio, "of SIMBA's", "at most 0.33", ratio <= 1 / 3))
    return rows


def faults(plan: Plan) -> list[Row]:
    """Return how often the chosen program is the same when a fifth of the requests fails."""
    rows = []
    for name in plan.ours:
        same = []
        for seed in plan.seeds:
            cells = [
                Cell("ours_side", name, plan.tasks[0], seed, 1000, 8, Weather(fault_rate=rate)) for rate in (0.0, 0.2)
            ]
            calm, stormy = (plan.cells.figures(cell) for cell in cells)
            same.append(calm["program"] == stormy["program"])
        share = round(sum(same) / len(same), 4)
        rows.append(Row(f"{name}: same program with 20 % faults", share, "of seeds", "1", share == 1.0))
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
    cells = [Cell("ours_side", name, task, seed, int(share * _budget(plan, task, seed))) for seed in plan.seeds]
    return _mean([plan.cells.figures(cell)["test"] for cell in cells])


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 4)
