"""Who is better: a child or its parent on the same train rows, a candidate or the best one on validation rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from dspex_ray.program_optimizers.reflective_evidence import Record
from dspex_ray.program_optimizers.reflective_pool import Individual
from dspex_ray.program_optimizers.reflective_settings import ReflectiveSettings


def is_better(child: Mapping[int, Record], parent: Mapping[int, Record]) -> bool:
    """Whether a child scored more than its parent on the rows that both have a score for; a tie is not enough."""
    pairs = [(child[row]["gain"], parent[row]["gain"]) for row in child if row in parent]
    return math.fsum(mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None) > 0


def next_part(looked: int, rows: int, settings: ReflectiveSettings) -> int:
    """Return on how many validation rows to look at a candidate after `looked`: at first a part, then twice as many."""
    first = max(settings.minibatch, math.ceil(rows / 2 ** (settings.parts - 1)))
    return min(rows, 2 * looked if looked else first)


_DOUBT = 0.5  # standard errors by which one may be behind a rival and still be looked at further


def stays(individual: Individual, pool: Sequence[Individual]) -> bool:
    """Whether it is worth more rows: not behind a rival that saw as many, and a merged one not behind its parents."""
    parents = [pool[parent] for parent in individual.parents] if len(individual.parents) > 1 else []
    if parents and math.fsum(_ahead(individual, max(parents, key=lambda one: one.mean))) < 0:
        return False
    rivals = [one for one in pool if one is not individual and len(one.gains) >= len(individual.gains)]
    return not any(_is_behind(individual, one) for one in rivals)


def _is_behind(individual: Individual, rival: Individual) -> bool:
    if individual.violation != rival.violation:
        return individual.violation > rival.violation
    ahead = _ahead(individual, rival)
    if math.fsum(ahead) >= 0:
        return False
    ahead.append(max(map(abs, ahead)))  # an imagined row in its favour: a few equal rows prove nothing
    return statistics.fmean(ahead) < -_DOUBT * statistics.stdev(ahead) / math.sqrt(len(ahead))


def is_perfect(individual: Individual, rows: int, perfect: float) -> bool:
    """Whether nothing is left to win: every validation row is right, within all bounds."""
    if individual.violation or len(individual.gains) < rows:
        return False
    return min(individual.gains.values()) >= perfect


def _ahead(one: Individual, other: Individual) -> list[float]:
    return [gain - other.gains[row] for row, gain in one.gains.items() if row in other.gains]
