"""The agents' figures: recovery, messages, memory, starts, status; beside bare Ray, pykka and xoscar in one run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from agents_bench import calls, crowd, recovery, status, systems
from harness import Row, machine, show, versions, write

from dspex_agents.runtime.ray_runtime import connect_cluster, disconnect_cluster

FULL: dict[str, Callable[[], list[Row]]] = {
    "systems": lambda: systems.measure(rounds=5),
    "recovery": lambda: recovery.measure(kills=40, bare_kills=12),
    "calls": lambda: calls.measure(rounds=5),
    "status": lambda: status.measure(asks=500),
    "crowd": lambda: crowd.measure(count=10_000),
}
QUICK: dict[str, Callable[[], list[Row]]] = {
    "systems": lambda: systems.measure(rounds=2),
    "recovery": lambda: recovery.measure(kills=8, bare_kills=2),
    "calls": lambda: calls.measure(rounds=2),
    "status": lambda: status.measure(asks=100),
    "crowd": lambda: crowd.measure(count=2_000),
}


def main() -> None:
    """Measure everything and keep it; a part, or a quick run, is only shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"any of {', '.join(FULL)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it runs")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(FULL):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    described, rows = machine(), list[Row]()
    connect_cluster(join=False)
    try:
        for part in options.parts or FULL:
            started = time.perf_counter()
            measured = (QUICK if options.quick else FULL)[part]()
            show(measured)
            print(f"{part}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
            rows += measured
    finally:
        disconnect_cluster()
    if not options.parts and not options.quick:
        write("agents", described, versions("ray", "pykka", "xoscar", "dspex-ray"), rows)


if __name__ == "__main__":
    main()
