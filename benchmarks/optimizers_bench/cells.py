"""Cells: one system on one task with one seed and budget; each is measured once and kept in a work file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from side import Side

from optimizers_bench.server import Weather, world

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
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._kept: dict[str, Mapping[str, Any]] = {row["cell"]: row["figures"] for row in map(json.loads, lines)}

    def figures(self, cell: Cell) -> Mapping[str, Any]:
        """Return `test`, `wall_s`, and `counted` at the server; runs the cell if it was not run before."""
        if cell.key not in self._kept:
            found = _run(cell)
            self._kept[cell.key] = found
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"cell": cell.key, "figures": found}) + "\n")
            counted = found["counted"].get("calls", 0)
            print(
                f"  {cell.side[:-5]} {cell.system} {cell.task} seed {cell.seed}: {found['test']:.3f} at {counted} calls"
            )
        return self._kept[cell.key]


def _run(cell: Cell) -> dict[str, Any]:
    """Run a cell on a server of its own. What a program finds there is no failure; a side that ends is one."""
    with world(cell.task, cell.seed, cell.weather) as server, Side(f"optimizers_bench.{cell.side}") as side:
        urls = {"counted": server.url, "aside": server.aside}
        if not cell.budget:
            found = side.call("untuned", task=cell.task, seed=cell.seed, urls=urls)
        else:
            found = side.call(
                "optimized",
                system=cell.system,
                task=cell.task,
                seed=cell.seed,
                urls=urls,
                budget=cell.budget,
                workers=cell.workers,
            )
        return {**found, "counted": server.counted()}


def registered() -> list[str]:
    """Return the names of our optimizers of programs."""
    with Side("optimizers_bench.ours_side") as side:
        names: Any = side.call("registered")
    return list(names)
