"""Cells: one system on one task with one seed and budget; each is measured once and kept in a work file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from side import Side

from optimizers_bench.server import Weather, world
from optimizers_bench.tasks import TASKS

DSPY = ("simba", "miprov2", "gepa")


@dataclass(frozen=True)
class Cell:
    """What is run; `budget` is in model calls of the task's kind and of the writer's, 0 for the untuned program."""

    side: str
    system: str
    task: str
    seed: int
    budget: int
    workers: int = 8
    weather: Weather = field(default_factory=Weather)

    @property
    def key(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


class Cells:
    """The measured cells, in a file of one JSON line each, so that an interrupted bench goes on where it was."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._kept: dict[str, Mapping[str, Any]] = {row["cell"]: row["figures"] for row in map(json.loads, lines)}

    def figures(self, cell: Cell) -> Mapping[str, Any]:
        """Return `test`, `wall_s`, and `counted` at the server; runs the cell if it was not run before."""
        if cell.key not in self._kept:
            self._keep(cell, _run(cell))
        return self._kept[cell.key]

    def fill(self, cells: Iterable[Cell], at_once: int) -> None:
        """Measure those that were not, some at once; not for cells whose wall time counts."""
        wanted = [cell for cell in dict.fromkeys(cells) if cell.key not in self._kept]
        with ThreadPoolExecutor(at_once) as threads:
            for _ in threads.map(self.figures, wanted):
                pass

    def _keep(self, cell: Cell, found: dict[str, Any]) -> None:
        counted = found["counted"].get("calls", 0)
        name = f"{cell.side[:-5]} {cell.system} {cell.task} seed {cell.seed}"
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            self._kept[cell.key] = found
            file.write(json.dumps({"cell": cell.key, "figures": found}) + "\n")
            print(f"  {name}: {found['test']:.3f} at {counted} calls", flush=True)


def _run(cell: Cell) -> dict[str, Any]:
    """Run a cell on a server of its own. What a program finds there is no failure; a side that ends is one."""
    if cell.task not in TASKS:
        return {**_called(cell, {}), "counted": {}}
    with world(cell.task, cell.seed, cell.weather) as server:
        found = _called(cell, {"counted": server.url, "aside": server.aside})
        return {**found, "counted": server.counted()}


def _called(cell: Cell, urls: dict[str, str]) -> dict[str, Any]:
    with Side(f"optimizers_bench.{cell.side}") as side:
        if not cell.budget:
            return side.call("untuned", task=cell.task, seed=cell.seed, urls=urls)
        return side.call(
            "optimized",
            system=cell.system,
            task=cell.task,
            seed=cell.seed,
            urls=urls,
            budget=cell.budget,
            workers=cell.workers,
        )


def registered() -> list[str]:
    """Return the names of our optimizers of programs."""
    with Side("optimizers_bench.ours_side") as side:
        names: Any = side.call("registered")
    return list(names)
