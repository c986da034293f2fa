"""The search floor's figures: quality and speed of optimizers beside Optuna and pymoo, and what sweeps cost."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded: all sides compute on one core

from coordination_bench import multi_objective, single, sweeps
from harness import Row, machine, show, versions, write

PARTS: dict[str, Callable[[bool], list[Row]]] = {  # sweeps first: their memory is that of the whole process
    "sweeps": lambda quick: sweeps.measure(**(sweeps.QUICK if quick else sweeps.FULL)),
    "single": lambda quick: single.measure(**(single.QUICK if quick else single.FULL)),
    "multi_objective": lambda quick: multi_objective.measure(
        **(multi_objective.QUICK if quick else multi_objective.FULL)
    ),
}
PEERS = ("optuna", "pymoo", "coco-experiment", "torch")


def main() -> None:
    """Measure everything and keep it; a part, or a quick run, is only shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(PARTS)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it runs")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    described, rows = machine(), list[Row]()
    for part in options.parts or PARTS:
        started = time.perf_counter()
        measured = PARTS[part](options.quick)
        show(measured)
        print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        rows += measured
    if not options.parts and not options.quick:
        installed = {one.metadata["Name"] for one in importlib.metadata.distributions()}
        write("coordination", described, versions(*(one for one in PEERS if one in installed), "dspex-ray"), rows)


if __name__ == "__main__":
    main()
