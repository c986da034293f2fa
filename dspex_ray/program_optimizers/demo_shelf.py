"""`DemoShelf`: all that one predictor may be shown, and the values of its `Demos` variable made of that."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_coordination.space import Space
from dspex_coordination.variables import Demos
from dspex_ray.program_optimizers.bootstrapped import Bootstrapped, Demo, labelled_demos, showing
from dspex_ray.program_optimizers.sketch import ProgramSketch

_NEAREST = 0.5  # share of the labelled sets that are chosen for each question, where that is allowed


class DemoShelf:
    """The demonstrations of one predictor: bootstrapped ones by their question, and the labelled train rows by id.

    `variable` is the one named `name`, bound to its pool; `ids` are what a set of labelled ones is chosen from, and
    `labelled` those of them that may be copied to stand beside bootstrapped ones.
    """

    def __init__(
        self, place: str, name: str, variable: Demos, labelled: Mapping[str, Demo], ids: Sequence[str]
    ) -> None:
        self.place, self.name, self.variable, self.labelled, self.ids = place, name, variable, labelled, ids
        self.bootstrapped: dict[str, list[Demo]] = {}

    @property
    def rows(self) -> int:
        """How many train rows gave a bootstrapped demonstration."""
        return len(self.bootstrapped)

    def add(self, found: Sequence[Bootstrapped]) -> None:
        """Take in those of this predictor."""
        for one in found:
            if one.place == self.place:
                self.bootstrapped.setdefault(one.demo["of"], []).append(one.demo)

    def first(self, most: int) -> dict[str, Any] | None:
        """Return the value that shows the first bootstrapped demonstrations, up to `most`; None if there are none."""
        demos = [several[0] for several in self.bootstrapped.values()][: min(most, self.variable.max)]
        return {"select": "given", "demos": demos} if demos else None

    def nearest(self, most: int) -> dict[str, Any] | None:
        """Return the value that shows those nearest to the question, up to `most`; None where that cannot be."""
        k = min(most, self.variable.max, len(self.variable.pool or ()))
        return {"select": "nearest", "k": k} if k and self.variable.allows_nearest else None

    def labels(self, most: int, rng: random.Random) -> dict[str, Any] | None:
        """Return a value that shows labelled demonstrations, up to `most`; None if there are none."""
        ids = self.ids
        count = min(most, self.variable.max, len(ids))
        return self._shown([], rng.sample(ids, count)) if count else None

    def drawn(self, most: int, labelled: int, rng: random.Random) -> dict[str, Any] | None:
        """Return a value of up to `most` bootstrapped demonstrations behind up to `labelled` labelled ones.

        None stands for no demonstration of either kind.
        """
        top = self.variable.max
        chosen = rng.sample(list(self.bootstrapped), rng.randint(0, min(most, top, self.rows)))
        if not chosen:
            near = labelled > 0 and rng.random() < _NEAREST
            value = self.nearest(rng.randint(1, labelled)) if near else None
            many = min(labelled, top, len(self.ids))
            return value or self.labels(rng.randint(min(1, many), many), rng)
        demos = [rng.choice(self.bootstrapped[of]) for of in chosen]
        others = [name for name, one in self.labelled.items() if one["of"] not in chosen]
        count = rng.randint(0, min(labelled, top - len(demos), len(others)))
        return self._shown(demos, rng.sample(others, count))

    def _shown(self, demos: list[Demo], ids: Sequence[str]) -> dict[str, Any]:
        if not demos and "fixed" in self.variable.select:
            return {"select": "fixed", "ids": list(ids)}
        return {"select": "given", "demos": [*(self.labelled[one] for one in ids), *demos]}


def demo_shelves(sketch: ProgramSketch, space: Space, most_chars: int) -> tuple[DemoShelf, ...]:
    """Return an empty shelf, but for labelled ones, for each predictor that shows demonstrations, in their order.

    `space` has its pools bound, as `SearchOptimizer.space` has.
    """
    shelves: list[DemoShelf] = []
    for one in showing(sketch):
        name = one.demos_name or ""
        variable = space.demos.get(name)
        if variable is None:
            continue
        pool = variable.pool or ()
        labelled = labelled_demos(sketch, pool, most_chars)
        too_long = {row.id for row in sketch.rows} - labelled.keys()
        if any("Secret" in each.type for each in one.inputs):
            labelled = {}  # such rows are named, never copied: the values of a version are written down
        named = [each for each in pool if each not in too_long] if "fixed" in variable.select else list(labelled)
        shelves.append(DemoShelf(one.place, name, variable, labelled, named))
    return tuple(shelves)
