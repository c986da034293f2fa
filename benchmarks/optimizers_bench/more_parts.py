"""The parts that have sides of their own: joint search, kill -9, and real data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from harness import Row

from optimizers_bench.cells import Cell
from optimizers_bench.parts import Plan

BANKING = "banking77"
BANKING_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / BANKING
_JOINT = ("beacon_programs", "genetic_programs")
_JOINT_TASK, _JOINT_CALLS = "arithmetic", 2400
_KILL_CALLS, _KILL_WORKERS = 700, 2
_FOUND = (("any16", "beacon_programs", 12), ("fixed200", "bootstrap", 12))
"""A program, the optimizer that suits it, and the trials."""


def joint(plan: Plan) -> list[Row]:
    """Return what is found where prompt, temperature, model and reasoning are searched under a bound on the cost.

    At as many calls: all of it together, the prompt first and then the numbers, and by Optuna over a fixed pool.
    """
    rows = []
    for name in [one for one in plan.ours if one in _JOINT]:
        together = [Cell("joint_side", f"together:{name}", _JOINT_TASK, seed, _JOINT_CALLS) for seed in plan.seeds]
        plan.cells.fill(together, plan.at_once)
        calls = {cell.seed: int(plan.cells.figures(cell)["counted"]["calls"]) for cell in together}
        apart = [
            Cell("joint_side", f"one_after_the_other:{name}", _JOINT_TASK, seed, _JOINT_CALLS) for seed in plan.seeds
        ]
        pool = [Cell("joint_side", "optuna_pool", _JOINT_TASK, seed, calls[seed]) for seed in plan.seeds]
        plan.cells.fill([*apart, *pool], plan.at_once)
        mine, *others = (_tested(plan, cells) for cells in (together, apart, pool))
        peers = {
            "prompts first, then numbers": others[0],
            "Optuna TPE over a fixed pool": others[1],
            "calls": [_counted(plan, cells) for cells in (together, apart, pool)],
        }
        label = f"{name}: joint search, accuracy within the bound on the cost"
        rows.append(Row(label, mine, "share", f"above {max(others)}", mine > max(others), peers))
    return rows


def kill(plan: Plan) -> list[Row]:
    """Return whether a search that is killed ten times and resumed ends as the one that nobody disturbed."""
    rows = []
    for name in plan.ours:
        found = plan.cells.figures(Cell("kill_side", name, plan.tasks[0], plan.seeds[0], _KILL_CALLS, _KILL_WORKERS))
        calm, resumed = found["calm"], found["resumed"]
        alike = [part for part in calm if calm[part] == resumed[part]]
        peers = {
            "alike": alike,
            "other": {part: [calm[part], resumed[part]] for part in calm if part not in alike},
            "calls made again": found["again"],
            "of them in flight at a kill": found["in_flight"],
            "at most": found["most_again"],
            "ledger, undisturbed and killed, USD": found["ledger_usd"],
            "provider, undisturbed and killed, USD": found["server_usd"],
        }
        holds = len(alike) == len(calm) and found["again"] <= found["most_again"]
        label = f"{name}: killed {found['kills']} times, program, scores and bill of the rows as undisturbed"
        rows.append(Row(label, round(len(alike) / len(calm), 4), "of them", "1", holds, peers))
    return rows


def banking77(plan: Plan) -> list[Row]:
    """Return the test accuracy on banking77's 77 intents with `embedded/nearest`; nothing where the data is absent."""
    if not all((BANKING_FOLDER / name).is_file() for name in ("train.csv", "test.csv")):
        print(f"  banking77 is not measured: no train.csv and test.csv in {BANKING_FOLDER}")
        return []
    untuned = plan.cells.figures(Cell("banking_side", "untuned", BANKING, 0, 0))["test"]
    neighbour = plan.cells.figures(Cell("banking_side", "neighbour", BANKING, 0, 1))["test"]
    rows = []
    for program, name, trials in _FOUND:
        found = plan.cells.figures(Cell("banking_side", f"{program}:{name}", BANKING, plan.seeds[0], trials, 2))
        peers = {
            "untuned": round(untuned, 4),
            "nearest neighbour over the whole training set": round(neighbour, 4),
            "on validation rows": round(found["validation"], 4),
            "shown": found["shown"],
            "seconds": round(found["wall_s"], 1),
        }
        rows.append(
            Row(f"banking77, {program} by {name}: test accuracy", round(found["test"], 4), "share", peers=peers)
        )
    return rows


def _tested(plan: Plan, cells: Sequence[Cell]) -> float:
    return round(statistics.fmean(plan.cells.figures(cell)["test"] for cell in cells), 4)


def _counted(plan: Plan, cells: Sequence[Cell]) -> int:
    return round(statistics.fmean(plan.cells.figures(cell)["counted"]["calls"] for cell in cells))
