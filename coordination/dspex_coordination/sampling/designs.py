"""Designs: sets of candidates that cover a space without looking at any result.

| design           | covers the space                                                              | candidates      |
|------------------|-------------------------------------------------------------------------------|-----------------|
| `random_design`  | as declared: by the distributions and weights of the variables                | any number      |
| `weighted`       | likewise, with other weights for some options                                 | any number      |
| `latin_hypercube`| evenly along every single variable                                            | a fixed number  |
| `sobol`          | evenly in all variables together; best with a power of two of candidates      | any number      |
| `grid`           | completely, in a few values of each variable                                  | counted first   |

Each yields feasible candidates, none twice, and ends when all candidates of a finite space were given. The same seed
gives the same candidates whatever the order of declaration. Variables without an axis (demonstrations) are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice, repeat
from typing import Any

from dspex_coordination.candidate import Candidate
from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import SpaceError, near_matches
from dspex_coordination.sampling.points import MAX_SOBOL, latin_points, sobol_points
from dspex_coordination.sampling.walk import axes, distinct, distinct_at
from dspex_coordination.space import Space
from dspex_coordination.variables import Choice, Variable

_COUNTED = 1_000_000  # candidates of a grid that are counted to tell how far it is over its limit


def random_design(space: Space, seed: int, number: int | None = None) -> Iterator[Candidate]:
    """Yield candidates drawn as declared, `number` of them (None: without end, or until a finite space is used up)."""
    return islice(distinct(space, repeat(space.sample), "random", seed), number)


def weighted(
    space: Space, seed: int, weights: Mapping[str, Mapping[str, float]], number: int | None = None
) -> Iterator[Candidate]:
    """Yield random candidates with other weights: `{"provider": {"a": 3.0, "b": 1.0}}`; options not named get none.

    Options are named by their text. Raises SpaceError for a variable that is no `Choice`, or an unknown option.
    """
    changed = dict(space.variables)
    for name, of_options in weights.items():
        changed[name] = _reweighted(space, name, of_options)
    return random_design(Space(changed, space.constraints), seed, number)


def latin_hypercube(space: Space, seed: int, number: int) -> Iterator[Candidate]:
    """Yield `number` candidates, each in another of `number` equally likely parts of every variable.

    Raises SpaceError if `number` is below 1.
    """
    if number < 1:
        raise SpaceError(f"A Latin hypercube has at least one candidate, got {number}.")
    points = latin_points(number, len(axes(space)), random.Random(f"latin:{seed}"))  # noqa: S311 - reproducible, no secret
    return distinct_at(space, points, "latin", seed)


def sobol(space: Space, seed: int, number: int | None = None) -> Iterator[Candidate]:
    """Yield candidates along a scrambled Sobol sequence; `number` as for `random_design`.

    Raises SpaceError for a space of more than 21,201 variables.
    """
    dimensions = len(axes(space))
    if dimensions > MAX_SOBOL:
        raise SpaceError(
            f"A Sobol sequence has up to {MAX_SOBOL} variables, this space {dimensions}; take a random one."
        )
    return islice(distinct_at(space, sobol_points(dimensions, seed), "sobol", seed), number)


def grid(space: Space, limit: int, levels: int | None = None) -> tuple[int, Iterator[Candidate]]:
    """Return how many candidates a grid has and the candidates: all combinations of `levels` values of each variable.

    A variable with fewer values has them all, so does an unordered one, and the default is always among them. `levels`
    None takes every value there is. Raises SpaceError with the number if it is above `limit` or infinite.
    """
    coarse = Space({name: _levelled(space.variables[name], levels) for name in space.names}, space.constraints)
    count = coarse.count(limit)
    if count is None:
        known = coarse.count(_COUNTED) if limit < _COUNTED else None
        number = f"{known:,}" if known is not None else f"more than {max(limit, _COUNTED):,}"
        if known is None and not space.constraints and coarse.cardinality is not None:
            number = f"up to {coarse.cardinality:,}"
        raise SpaceError(
            f"This grid has {number} candidates, more than the limit of {limit:,}; take fewer levels, a higher limit, "
            "or a Sobol or random design."
        )
    return count, map(space.complete, (dict(one.values) for one in coarse.every(max(limit, 1))))


def _reweighted(space: Space, name: str, weights: Mapping[str, float]) -> Variable[Any]:
    variable = space.variables.get(name)
    if not isinstance(variable, Choice):
        choices = [other for other, one in space.variables.items() if isinstance(one, Choice)]
        raise SpaceError(f"{name} is no Choice of this space, so it has no weights. {near_matches(name, choices)}")
    options = [str(option) for option in variable.options]
    unknown = [option for option in weights if option not in options]
    if unknown:
        raise SpaceError(f"{name} has no option {unknown[0]!r}. {near_matches(unknown[0], options)}")
    data = {**variable.to_json(), "weights": [float(weights.get(option, 0.0)) for option in options]}
    return Variable.from_json(data)


def _levelled(variable: Variable[Any], levels: int | None) -> Variable[Any]:
    known = variable.cardinality
    if levels is None:
        if known is None:
            raise SpaceError(f"{variable.label} has no finite number of values; say how many of them with levels=.")
        return variable
    if variable.scale in ("nominal", "computed") or (known is not None and known <= levels):
        return variable
    options = {canonical_json(value): value for value in (*variable.grid(levels), variable.default)}
    links = {key: value for key, value in variable.to_json().items() if key in ("when", "requires", "conflicts")}
    return Choice(list(options.values()), default=variable.default, **links)
