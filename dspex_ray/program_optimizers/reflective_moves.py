"""Changes of a candidate that need no model: another value, or demonstrations out of its own good runs."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.space import Space
from dspex_coordination.variables import Text
from dspex_ray.program_optimizers.reflective_evidence import shortened
from dspex_ray.program_optimizers.reflective_pool import Individual
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

_SECOND = 0.3  # chance that a second variable changes too, since some only help together
_STRENGTHS = (0.1, 0.3, 1.0)
_SHOWN = 0.5  # chance that demonstrations come from the candidate's own runs, where it has good ones
_MOST_SHOWN = 4  # demonstrations taken at once


def written_by_model(space: Space, sketch: ProgramSketch) -> tuple[Predictor, ...]:
    """Return the predictors whose instruction may be any text."""
    texts = {name for name, one in space.variables.items() if isinstance(one, Text) and one.pool is None}
    return tuple(one for one in sketch.predictors if one.instruction_name in texts)


def varied(
    space: Space, names: Sequence[str], parent: Individual, sketch: ProgramSketch, perfect: float, rng: random.Random
) -> Candidate | None:
    """Return a candidate that differs from its parent in one or two of these variables; None if the draw gave none."""
    if not names:
        return None
    count = 2 if len(names) > 1 and rng.random() < _SECOND else 1
    values = dict(parent.candidate.values)
    for name in rng.sample(names, count):
        own = _own_demos(name, parent, sketch, perfect, rng) if rng.random() < _SHOWN else None
        values[name] = own or space.variables[name].mutate(values[name], rng, rng.choice(_STRENGTHS))
    return space.repair(values, rng)


def _own_demos(
    name: str, parent: Individual, sketch: ProgramSketch, perfect: float, rng: random.Random
) -> dict[str, Any] | None:
    predictor = next((one for one in sketch.predictors if one.demos_name == name), None)
    if predictor is None or not predictor.most_demos:
        return None
    good = [
        {"input": step["input"], "output": step["output"], "of": sketch.rows[row].content_id}
        for row, record in sorted(parent.records.items())
        if record["gain"] is not None and record["gain"] >= perfect
        for step in record["steps"].get(predictor.place, ())[-1:]
        if "output" in step and shortened(step) == step  # a text that was cut is longer than one may be, and no demo
    ]
    if not good:
        return None
    count = rng.randint(1, min(len(good), predictor.most_demos, _MOST_SHOWN))
    return {"select": "given", "demos": rng.sample(good, count)}


def minibatch(
    known: Collection[int], new: Collection[int], hard: Collection[int], size: int, most_known: int, rng: random.Random
) -> list[int]:
    """Draw `size` rows, up to `most_known` of the `known` ones and the others new, as far as there are new ones.

    Half of the new ones are `hard`: an ancestor had them wrong. How the candidate itself did plays no part, since the
    worst of its rows would get better by chance.
    """
    chosen = rng.sample(sorted(known), min(len(known), most_known, size))
    wrong = [row for row in sorted(new) if row in hard]
    chosen += rng.sample(wrong, min(len(wrong), (size - len(chosen)) // 2))
    rest = [row for row in sorted(new) if row not in chosen]
    chosen += rng.sample(rest, min(len(rest), size - len(chosen)))
    left = [row for row in sorted(known) if row not in chosen]
    return chosen + rng.sample(left, min(len(left), size - len(chosen)))
