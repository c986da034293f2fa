"""The programs' figures: evaluation, memory of calls in flight, cached examples, validation; beside DSPy in one run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from harness import Row, machine, show, versions, write
from programs_bench import evaluations, in_flight, single

SETTINGS = (8, 16, 32, 64, 128, 256, 512)
FULL: dict[str, Callable[[], list[Row]]] = {
    "evaluations": lambda: evaluations.measure(1_000, rounds=7, settings=SETTINGS),
    "in_flight": lambda: in_flight.measure(5_000, rounds=3),
    "single": lambda: single.measure(5_000, rounds=5),
}
QUICK: dict[str, Callable[[], list[Row]]] = {
    "evaluations": lambda: evaluations.measure(1_000, rounds=1, settings=(64, 256)),
    "in_flight": lambda: in_flight.measure(1_000, rounds=1),
    "single": lambda: single.measure(1_000, rounds=1),
}
PACKAGES = ("dspy", "litellm", "aiohttp", "pydantic", "dspex-ray")


def main() -> None:
    """Measure everything and keep it; a part, or a quick run, is only shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(FULL)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it runs")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(FULL):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    described, rows = machine(), list[Row]()
    for part in options.parts or FULL:
        started = time.perf_counter()
        measured = (QUICK if options.quick else FULL)[part]()
        show(measured)
        print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        rows += measured
    if not options.parts and not options.quick:
        write("programs", described, versions(*PACKAGES), rows)


if __name__ == "__main__":
    main()
