"""The last look of a sweep: how the best candidate does on train rows that it does not show, to tell its gap."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from typing import Any

from dspex_coordination.optimizers.base import Ask, SearchContext, Told

_LEAST = 20
_SHARE = 10


def closing_ask(best: Told, context: SearchContext, known: Collection[int], scored: int, most: int) -> Ask | None:
    """Return what is still to be scored of the best, None if nothing: a sample of train rows, drawn by the seed.

    With the `known` rows, which it has a score on already, they are a tenth of the rows `scored` by the whole search,
    at least 20 and at most `most`. Rows that stand in the candidate's values are left out, since it has learnt them by
    heart.
    """
    texts = frozenset(_texts(best.candidate.to_json()))
    # a demonstration that the program made has the id of its question without the number of the copy
    shown = {row for row, id_ in enumerate(context.train_ids) if id_ in texts or id_.partition("-")[0] in texts}
    lacking = [row for row in range(context.train_rows) if row not in shown and row not in known]
    count = look_rows(scored, most) - len(known)
    if count < 1 or not lacking:
        return None
    rng = random.Random(f"{context.seed}:closing")  # noqa: S311 - no secret
    return Ask(best.candidate, "train", tuple(sorted(rng.sample(lacking, min(count, len(lacking))))))


def look_rows(scored: int, most: int) -> int:
    """Return on how many train rows the best is scored after a search of so many rows, where there are as many."""
    return min(most, max(_LEAST, scored // _SHARE))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
