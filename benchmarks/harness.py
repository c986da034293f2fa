"""What every benchmark shares: the machine's description, the row of a table, and the file the rows go to."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One line of a table. `bar` is the figure to hold and `holds` whether it does; None where there is none."""

    measure: str
    value: float
    unit: str
    bar: str | None = None
    holds: bool | None = None
    peers: dict[str, Any] = field(default_factory=dict)


def machine() -> dict[str, Any]:
    """Describe the machine as far as it matters."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    described = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in described if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "cpu": models[0] if models else platform.processor(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "load_before": os.getloadavg()[0],
    }


def versions(*packages: str) -> dict[str, str]:
    """Return Python's version and those of the packages."""
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": sys.version.split()[0], **found}


def write(area: str, described: dict[str, Any], used: dict[str, str], rows: Sequence[Row]) -> None:
    """Write the area's file."""
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": described, "versions": used, "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{area}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def show(rows: Sequence[Row]) -> None:
    """Print the rows."""
    for row in rows:
        verdict = {True: "holds", False: "MISSED", None: "no bar"}[row.holds]
        print(f"{row.measure}: {row.value:g} {row.unit} (bar {row.bar or '-'}: {verdict}) {row.peers or ''}")


def median(values: Sequence[float]) -> float:
    """Return the median, rounded to four digits."""
    return round(statistics.median(values), 4)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of them do not exceed, rounded to four digits."""
    ranked = sorted(values)
    return round(ranked[max(0, math.ceil(share * len(ranked)) - 1)], 4)


def alternate(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every side once to warm up, then once a round, each round in the reverse order of the one before."""
    for run in sides.values():
        run()
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 else reversed(list(sides)):
            figures[name].append(sides[name]())
    return figures


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
