"""The interval of a mean: Wilson's for a share, the percentile bootstrap for other scores."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from dspex_coordination.objectives.share_interval import wilson

RESAMPLES = 1000
MOST_RESAMPLED = 500  # values; above it the bootstrap of a mean is near its normal limit and costs far more


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return (low, high) that hold the mean of what `values` were drawn from with probability `level`.

    The order of `values` is no matter, and the same values give the same interval. Raises ValueError for no values or
    a level outside (0, 1). Sources: Wilson, JASA 1927; Efron and Tibshirani 1993, chapter 13.
    """
    if not values or not 0.0 < level < 1.0:
        raise ValueError(f"An interval needs values and a level between 0 and 1, got {len(values)} and {level!r}.")
    if all(value in (0, 1) for value in values):
        return wilson(int(sum(values)), len(values), level)
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return _normal(ordered, level) if len(ordered) > MOST_RESAMPLED else _bootstrap(ordered, level)


def _normal(values: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    margin = NormalDist().inv_cdf((1 + level) / 2) * float(values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return mean - margin, mean + margin


def _bootstrap(values: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    means = values[_resamples(len(values))].mean(axis=1)
    means.sort()
    cut = math.floor((1 - level) / 2 * RESAMPLES)  # as many are left out below and above
    return float(means[cut]), float(means[-1 - cut])


@functools.lru_cache(maxsize=4)  # of 4 MB at most: the trials of a sweep have few different numbers of rows
def _resamples(count: int) -> npt.NDArray[np.int64]:
    """Return the positions of `RESAMPLES` draws of `count` out of `count`, always the same ones."""
    generator = np.random.Generator(np.random.PCG64(count))
    return generator.integers(0, count, size=(RESAMPLES, count))
