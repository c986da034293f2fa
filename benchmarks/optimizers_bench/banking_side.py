"""Real data: the 77 intents of banking77, answered by `embedded/nearest`, a nearest-neighbour rule."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from side import Figures

import dspex_ray as dspex
from dspex_ray.lm.ngrams import NgramIndex
from dspex_ray.store import open_store
from examples.banking import Route

BANKING77 = Path(__file__).resolve().parents[3] / "shared" / "data" / "banking77"
MODEL = "embedded/nearest"
TEMPERATURE = 0.0  # it has none: nothing is to be searched there


class Any16(Route):
    """Route a bank customer's message to the intent it expresses."""

    temperature = TEMPERATURE


class Fixed200(Route):
    """Route a bank customer's message to the intent it expresses."""

    temperature = TEMPERATURE
    demos = dspex.Demos(max=200, select=["fixed"])


PROGRAMS: dict[str, type[Route]] = {"any16": Any16, "fixed200": Fixed200}


def untuned(**_: Any) -> Figures:
    """Return what the program as it is written scores on the test messages."""
    return {"test": _judged(Any16())}


def neighbour() -> Figures:
    """Return the share of the test messages whose nearest train message has their intent: no program, no search."""
    train, test = (dspex.load_data(str(BANKING77 / name), Route).examples for name in ("train.csv", "test.csv"))
    index = NgramIndex([one.input["message"] for one in train])
    found = [train[index.nearest(one.input["message"], 1)[0]] for one in test]
    right = [near.output["intent"] == one.output["intent"] for near, one in zip(found, test, strict=True)]
    return {"test": sum(right) / len(right)}


def optimized(system: str, seed: int, budget: int, workers: int, **_: Any) -> Figures:
    """Search with `budget` trials; `system` is `<program>:<optimizer>`. Return what the program found scores."""
    if system == "neighbour":
        return neighbour()
    name, _colon, optimizer = system.partition(":")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = dspex.optimize(
            PROGRAMS[name]().with_lm(MODEL),
            str(BANKING77 / "train.csv"),
            metric="exact(intent)" if False else "exact",
            optimizer=optimizer,
            trials=budget,
            seed=seed,
            workers=workers,
            runtime="in-process",
            store=open_store(f"sqlite:///{Path(folder) / 'store.db'}"),
        )
        spent_s = time.perf_counter() - started
        demos = found.program.values["demos"]
        shown = {"select": demos["select"], "demos": demos.get("k", len(demos.get("ids", demos.get("demos", ()))))}
        return {
            "wall_s": spent_s,
            "validation": found.score,
            "calls": found.version.facts["calls"],
            "shown": shown,
            "test": _judged(found.program),
        }


def _judged(program: Any) -> float:
    return float(dspex.evaluate(program.with_lm(MODEL), str(BANKING77 / "test.csv"), metric="exact").accuracy)
