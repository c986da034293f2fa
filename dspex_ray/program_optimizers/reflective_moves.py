"""Changes of a candidate that need no model: other values, or other demonstrations; and the rows to try them on."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import OptimizerError
from dspex_coordination.optimizers.base import SearchContext
from dspex_coordination.space import Space
from dspex_coordination.variables import Text
from dspex_ray.program_optimizers.reflective_demos import Showing
from dspex_ray.program_optimizers.reflective_pool import Individual
from dspex_ray.program_optimizers.sketch import Predictor, ProgramSketch

_SECOND = 0.3  # chance that a second variable changes too, since some only help together
_STRENGTHS = (0.1, 0.3, 1.0)
_MORE = 0.8  # chance that demonstrations are added rather than dropped, reordered or drawn afresh


def searchable(owner: str, context: SearchContext, space: Space, sketch: ProgramSketch) -> tuple[Predictor, ...]:
    """Return the predictors whose instruction may be any text. Raises OptimizerError for what cannot be searched so."""
    names = [one.name for one in context.objectives]
    if names != ["score"]:
        raise OptimizerError(
            f"{owner} takes one objective, 'score', the only measure known row by row; this search has {names}."
        )
    texts = {name for name, one in space.variables.items() if isinstance(one, Text) and one.pool is None}
    written = tuple(one for one in sketch.predictors if one.instruction_name in texts)
    if not written:
        raise OptimizerError(
            f"{owner} writes instructions, but no model call of {sketch.name} has an instruction that "
            "may be any text; use another optimizer, such as 'beacon'."
        )
    if not context.train_rows:
        raise OptimizerError(f"{owner} learns from train rows, and there are none.")
    return written


def varied(
    space: Space,
    names: Sequence[str],
    parent: Individual,
    pool: Collection[Individual],
    showing: Showing,
    rng: random.Random,
) -> Candidate | None:
    """Return a candidate that differs from its parent in one or two of these variables; None if the draw gave none."""
    if not names:
        return None
    count = 2 if len(names) > 1 and rng.random() < _SECOND else 1
    values = dict(parent.candidate.values)
    for name in rng.sample(names, count):
        more = name in showing.names and rng.random() < _MORE
        shown = showing.more(name, parent, pool, rng) if more else None
        values[name] = shown or space.variables[name].mutate(values[name], rng, rng.choice(_STRENGTHS))
    return space.repair(values, rng)


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
