"""`Showing`: demonstrations added to what a candidate shows, out of train rows and good runs, the hard ones first."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any

from dspex_coordination.space import Space
from dspex_ray.program_optimizers.bootstrapped import MOST_CHARS, Demo
from dspex_ray.program_optimizers.demo_shelf import DemoShelf, demo_shelves
from dspex_ray.program_optimizers.reflective_pool import Individual
from dspex_ray.program_optimizers.run_evidence import shortened
from dspex_ray.program_optimizers.sketch import ProgramSketch

_MOST_SHOWN = 4


class Showing:
    """What can be shown: train rows as they are where a call answers for the whole program, and runs that went well.

    `names` are those of the variables that hold demonstrations and may change.
    """

    def __init__(self, sketch: ProgramSketch, space: Space, perfect: float) -> None:
        self._sketch, self._perfect = sketch, perfect
        self._shelves = {one.name: one for one in demo_shelves(sketch, space, MOST_CHARS) if one.name in space.free}
        self._rows = {example.content_id: number for number, example in enumerate(sketch.rows)}
        self.names = tuple(self._shelves)

    def more(
        self, name: str, parent: Individual, pool: Collection[Individual], rng: random.Random
    ) -> dict[str, Any] | None:
        """Return a value that shows some more than the parent, or others where that has no room; None without any.

        Rows that the parent got wrong come first: they show what it does not know.
        """
        shelf = self._shelves[name]
        most = min(shelf.variable.max, _MOST_SHOWN)
        found = {demo["of"]: demo for demo in shelf.labelled.values()}
        found |= {demo["of"]: demo for one in pool for demo in self._good_runs(shelf.place, one)}
        held = _held(shelf, parent.candidate.values[name])
        left = [of for of in found if all(of != one["of"] for one in held)]
        if held and len(held) >= most:
            held.pop(rng.randrange(len(held)))
        if not left or len(held) >= most:
            return None
        rng.shuffle(left)
        left.sort(key=lambda of: not self._is_wrong(of, parent))
        chosen = left[: rng.randint(1, most - len(held))]
        return {"select": "given", "demos": [*held, *(found[of] for of in chosen)]}

    def _is_wrong(self, of: str, parent: Individual) -> bool:
        record = parent.records.get(self._rows.get(of, -1))
        return record is not None and record["gain"] is not None and record["gain"] < self._perfect

    def _good_runs(self, place: str, one: Individual) -> list[Demo]:
        return [
            {"input": step["input"], "output": step["output"], "of": self._sketch.rows[row].content_id}
            for row, gain in sorted(one.train_gains.items())
            if gain >= self._perfect
            for step in one.records[row]["steps"].get(place, ())[-1:]
            if "output" in step and shortened(step) == step  # what was cut is no demonstration
        ]


def _held(shelf: DemoShelf, value: Mapping[str, Any]) -> list[Demo]:
    if value["select"] == "given":
        return list(value["demos"])
    return [shelf.labelled[one] for one in value.get("ids", ()) if one in shelf.labelled]
