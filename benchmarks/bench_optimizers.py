"""Our optimizers of programs beside DSPy's SIMBA, MIPROv2 and GEPA, on a simulated model of hidden rules."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from harness import RESULTS, Row, machine, show, versions, write
from optimizers_bench import more_parts, parts
from optimizers_bench.cells import Cells, registered
from optimizers_bench.tasks import TASKS

PARTS: dict[str, Callable[[parts.Plan], list[Row]]] = {
    "untuned": parts.untuned,
    "accuracy": parts.accuracy,
    "wall_time": parts.wall_time,
    "faults": parts.faults,
    "joint": more_parts.joint,
    "kill": more_parts.kill,
    "banking77": more_parts.banking77,
}
PACKAGES = ("dspy", "gepa", "optuna", "dspex-ray")


def main() -> None:
    """Measure and keep everything; some parts, tasks or optimizers, or fewer than five seeds, are only shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; all when none is given")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from --first on")
    parser.add_argument("--first", type=int, default=0, help="the first seed; 0 for figures that are kept")
    parser.add_argument("--at-once", type=int, default=2, help="cells at once, where no time is measured")
    parser.add_argument("--quick", action="store_true", help="one seed, one task: does it run")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--ours", nargs="+", help="our optimizers; all that are registered when none is given")
    parser.add_argument(
        "--cells", type=Path, default=RESULTS / "optimizers.cells.jsonl", help="what was measured so far"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    described = machine()
    if options.quick:
        options.seeds, options.tasks = 1, options.tasks[:1]
    seeds = range(options.first, options.first + options.seeds)
    plan = parts.Plan(Cells(options.cells), options.tasks, seeds, options.ours or registered(), options.at_once)
    rows = [row for part in options.parts or PARTS for row in PARTS[part](plan)]
    show(rows)
    whole = not (options.parts or options.ours or options.first)
    if whole and options.seeds >= 5 and len(options.tasks) == len(TASKS):
        write("optimizers", described, versions(*PACKAGES), rows)


if __name__ == "__main__":
    main()
