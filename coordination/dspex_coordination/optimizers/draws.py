"""Reproducible draws of candidates that never repeat."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

from dspex_coordination.candidate import Candidate
from dspex_coordination.space import Space

ATTEMPTS = 200  # random draws before the space counts as nearly exhausted and is listed instead


def seeded(*parts: int | str) -> random.Random:
    """Return a generator that depends on the parts alone, in every process and version of Python."""
    return random.Random(":".join(str(part) for part in parts))  # noqa: S311 - a reproducible search holds no secret


def distinct(
    space: Space, seen: Collection[str], draw: Callable[[int], Candidate | None], attempts: int = ATTEMPTS
) -> Candidate | None:
    """Return the first of `draw(0), draw(1), ...` whose key is not in `seen`, or else any unseen candidate.

    A draw may give None where it found nothing. All of `seen` must be of the space. None means that all have been seen.
    """
    cardinality = space.cardinality
    if cardinality is not None and len(seen) >= cardinality:
        return None
    for attempt in range(attempts):
        candidate = draw(attempt)
        if candidate is not None and candidate.key not in seen:
            return candidate
    listed = space.every(len(seen) + 1)
    return next((candidate for candidate in listed if candidate.key not in seen), None)
