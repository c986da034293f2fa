"""Who is better: a child or its parent on the same train rows, a candidate or the best one on validation rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from dspex_ray.program_optimizers.reflective_pool import Individual, incumbent
from dspex_ray.program_optimizers.reflective_settings import ReflectiveSettings
from dspex_ray.program_optimizers.run_evidence import Record
from dspex_ray.program_optimizers.shrunken_scores import Estimate


def is_better(child: Mapping[int, Record], parent: Mapping[int, Record]) -> bool:
    """Whether a child scored more than its parent on the rows that both have a score for; a tie is not enough."""
    pairs = [(child[row]["gain"], parent[row]["gain"]) for row in child if row in parent]
    return math.fsum(mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None) > 0


def contender(pool: Sequence[Individual], worth: Mapping[int, Estimate], busy: Collection[int]) -> Individual | None:
    """Return who should be seen on validation rows next: who is surest to be worth something, if it beats the best.

    The standard error is taken off, so that luck on few rows does not win, and a race that was begun is ended first.
    One of which nothing is known is seen before all others. None if there is nobody, or all of them are `busy`.
    """
    best = incumbent(list(pool))
    waiting = [one for one in pool if one.standing == "racing" and one.number not in busy]
    unknown = [one for one in waiting if one.number not in worth]
    if unknown:
        return unknown[0]
    able = [one for one in waiting if best is None or _may_win(one, best, worth)]
    return max(able, key=lambda one: worth[one.number].mean - worth[one.number].error, default=None)


def _may_win(one: Individual, best: Individual, worth: Mapping[int, Estimate]) -> bool:
    if one.violation != best.violation:
        return one.violation < best.violation
    return best.violation > 0 or worth[one.number].mean > worth[best.number].mean


def next_part(
    one: Individual, pool: Sequence[Individual], worth: Mapping[int, Estimate], rows: int, settings: ReflectiveSettings
) -> int:
    """Return on how many validation rows to look at a candidate: at first a part, then twice as many.

    All of them, if it is better than the best one by more than its standard error.
    """
    best = incumbent(list(pool))
    if best is not None and one.number in worth:
        mine = worth[one.number]
        if mine.mean - mine.error > worth[best.number].mean:
            return rows
    first = max(settings.minibatch, math.ceil(rows / 2 ** (settings.parts - 1)))
    return min(rows, 2 * one.looked if one.looked else first)


def is_perfect(individual: Individual, rows: int, perfect: float) -> bool:
    """Whether nothing is left to win: every validation row is right, within all bounds."""
    if individual.violation or len(individual.gains) < rows:
        return False
    return min(individual.gains.values()) >= perfect
