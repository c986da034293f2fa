"""Shrunken scores: what candidates are worth, told from how hard the rows were that each of them met.

A score is taken for the sum of what the candidate and what the row contribute, and noise. The contribution of few rows
is shrunk towards that of the candidate it was made from, and of a first one towards the mean of all: empirical Bayes
(Efron and Morris 1975; one random effect for each of both sides, as in Robinson 1991), its two variances by moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

_SWEEPS = 6
_ROW_PRIOR = 0.5  # observations that the mean of all weighs in the difficulty of a row
_LEAST_SPREAD, _MOST_SPREAD = 0.05, 0.5  # of a candidate's own contribution, as shares of the range of scores


class Entry(NamedTuple):
    """A candidate's key, that of the one it was made from, and its scores by row."""

    key: str
    parent: str | None
    scores: Mapping[int, float]


class Estimate(NamedTuple):
    """The expected score on a typical row, and its standard error."""

    mean: float
    error: float


def estimates(entries: Sequence[Entry]) -> dict[str, Estimate]:
    """Return an estimate for each candidate with a score; a parent stands before its children."""
    known = [entry for entry in entries if entry.scores]
    if not known:
        return {}
    every = [score for entry in known for score in entry.scores.values()]
    middle, width = fmean(every), max(every) - min(every)
    worth, prior = {entry.key: 0.0 for entry in known}, 10.0
    noise = 0.0
    for _ in range(_SWEEPS):
        rows = _difficulties(known, worth, middle)
        gaps = {entry.key: [one - middle - rows[row] for row, one in entry.scores.items()] for entry in known}
        for entry in known:
            start, own = worth.get(entry.parent or "", 0.0), gaps[entry.key]
            worth[entry.key] = start + math.fsum(gap - start for gap in own) / (len(own) + prior)
        noise = fmean((gap - worth[key]) ** 2 for key, own in gaps.items() for gap in own)
        prior = _prior(known, gaps, worth, noise, width)
    return {
        entry.key: Estimate(middle + worth[entry.key], math.sqrt(noise / (len(entry.scores) + prior)))
        for entry in known
    }


def softmax(scores: Sequence[float], temperature: float) -> list[float]:
    """Return weights in proportion to exp(score / temperature), the largest 1.0, so that none overflows."""
    top = max(scores)
    return [math.exp((score - top) / temperature) for score in scores]


def _difficulties(known: Iterable[Entry], worth: Mapping[str, float], middle: float) -> dict[int, float]:
    sums: dict[int, tuple[float, int]] = {}
    for entry in known:
        for row, score in entry.scores.items():
            total, count = sums.get(row, (0.0, 0))
            sums[row] = (total + score - middle - worth[entry.key], count + 1)
    return {row: total / (count + _ROW_PRIOR) for row, (total, count) in sums.items()}


def _prior(
    known: Iterable[Entry], gaps: Mapping[str, list[float]], worth: Mapping[str, float], noise: float, width: float
) -> float:
    """Return how many rows what is known beforehand weighs: the variance of noise over that of contributions."""
    apart = [
        (fmean(gaps[entry.key]) - worth.get(entry.parent or "", 0.0)) ** 2 - noise / len(entry.scores)
        for entry in known
    ]
    spread = min(max(fmean(apart), (_LEAST_SPREAD * width) ** 2), (_MOST_SPREAD * width) ** 2)
    return noise / spread if spread > 0 else 1.0
