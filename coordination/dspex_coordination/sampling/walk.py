"""Points of the unit cube as feasible candidates of a space, none of them twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from dspex_coordination.candidate import Candidate
from dspex_coordination.sampling.points import Point
from dspex_coordination.space import Space

Draw = Callable[[random.Random], Candidate | None]

ATTEMPTS = 64  # draws in place of a point whose candidate was seen, before the space is listed


def axes(space: Space) -> tuple[str, ...]:
    """Return the variables that a point has a coordinate for, by name: those with an axis; none computed or sets."""
    return tuple(sorted(name for name in space.free if space.variables[name].scale != "structured"))


def candidate_at(space: Space, point: Point, rng: random.Random) -> Candidate | None:
    """Return the candidate at a point, with a coordinate for each of `axes(space)`; None if it cannot be repaired.

    `rng` draws variables without an axis, and repairs what constraints forbid.
    """
    names = axes(space)
    values = {name: space.variables[name].at(u) for name, u in zip(names, point, strict=True)}
    for name in sorted(set(space.free) - set(names)):
        values[name] = space.variables[name].sample(rng)
    return space.repair(values, rng)


def distinct_at(space: Space, points: Iterable[Point], *seed: int | str) -> Iterator[Candidate]:
    """Yield one candidate for each point, as `distinct` does."""
    return distinct(space, (partial(candidate_at, space, point) for point in points), *seed)


def distinct(space: Space, draws: Iterable[Draw], *seed: int | str) -> Iterator[Candidate]:
    """Yield one candidate for each draw, none twice; it ends when all candidates of a finite space were given.

    Where a draw gives one that was given before, a random one takes its place, or any other that is left. What is drawn
    the k-th time depends on the seed and k alone.
    """
    seen: set[str] = set()
    for number, draw in enumerate(draws):
        rng = random.Random(":".join(str(part) for part in (*seed, number)))  # noqa: S311 - reproducible, no secret
        candidate = draw(rng)
        for _ in range(ATTEMPTS):
            if candidate is not None and candidate.key not in seen:
                break
            candidate = space.sample(rng)
        else:
            candidate = next((one for one in space.every(len(seen) + 1) if one.key not in seen), None)
        if candidate is None:
            return
        seen.add(candidate.key)
        yield candidate
