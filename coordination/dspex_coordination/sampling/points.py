"""Points in the unit cube: Latin hypercubes and Sobol sequences, all from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from scipy.stats import qmc  # type: ignore[import-untyped] # scipy comes without types

from dspex_coordination.canonical import digest

Point = Sequence[float]

MAX_SOBOL = qmc.Sobol.MAXDIM
_BITS = 30  # of a Sobol sequence; it has 2**30 points


def latin_points(number: int, dimensions: int, rng: random.Random) -> list[Point]:
    """Return `number` points of which each has one of `number` equal parts of every axis (McKay et al., 1979)."""
    columns = [rng.sample(range(number), number) for _ in range(dimensions)]
    return [[(column[row] + rng.random()) / number for column in columns] for row in range(number)]


def sobol_points(dimensions: int, seed: int) -> Iterator[Point]:
    """Yield the points of a scrambled Sobol sequence (Owen, 1998), up to 2**30; the first 2**m are balanced for any m.

    Without dimensions it yields empty points.
    """
    if dimensions == 0:
        yield from ([] for _ in range(2**_BITS))
        return
    sequence = qmc.Sobol(dimensions, scramble=True, bits=_BITS, rng=int(digest(["sobol", seed]), 16))
    block = 1
    while sequence.num_generated < 2**_BITS:
        yield from sequence.random(block).tolist()
        block = sequence.num_generated  # doubles what there is, so that every block ends on a power of two
