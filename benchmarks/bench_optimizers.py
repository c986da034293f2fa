"""Our optimizers of programs beside DSPy's SIMBA, MIPROv2 and GEPA, on a simulated model of hidden rules."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from harness import RESULTS, Row, machine, show, versions, write
from optimizers_bench import parts
from optimizers_bench.cells import Cells, registered
from optimizers_bench.tasks import TASKS

PARTS: dict[str, Callable[[parts.Plan], list[Row]]] = {
    "untuned": parts.untuned,
    "accuracy": parts.accuracy,
    "wall_time": parts.wall_time,
    "faults": parts.faults,
}
PACKAGES = ("dspy", "gepa", "optuna", "dspex-ray")


def main() -> None:
    """Measure and keep everything; some parts, tasks or optimizers, or fewer than five seeds, are only shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; all when none is given")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--ours", nargs="+", help="our optimizers; all that are registered when none is given")
    parser.add_argument(
        "--cells", type=Path, default=RESULTS / "optimizers.cells.jsonl", help="what was measured so far"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    described = machine()
    plan = parts.Plan(Cells(options.cells), options.tasks, range(options.seeds), options.ours or registered())
    rows = [row for part in options.parts or PARTS for row in PARTS[part](plan)]
    show(rows)
    if not options.parts and not options.ours and options.seeds >= 5 and len(options.tasks) == len(TASKS):
        write("optimizers", described, versions(*PACKAGES), rows)


if __name__ == "__main__":
    main()
