"""95 % intervals of a mean score and of the difference of two paired runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, TypeAlias

from dspex_coordination.objectives.share_interval import wilson as share_interval
from dspex_ray.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method: TypeAlias = Literal["bca", "percentile"]

_NORMAL = NormalDist()
_Z = 1.959963984540054  # the normal distribution's 97.5 % point
_RESAMPLES = 2000
_MOST_CELLS = 2_000_000  # of one resampling block: bounds the memory to some 16 MB


def interval(scores: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return (low, high) of the mean: Wilson's interval for scores of 0 and 1, else a BCa bootstrap.

    Raises UsageError without scores.
    """
    values = _values(scores)
    if _binary(values):
        return wilson(int(sum(values)), len(values))
    return bootstrap(values, seed)


def interval_method(scores: Sequence[float]) -> str:
    """Return how `interval` makes the interval of these scores: `Wilson` or `BCa bootstrap`."""
    return "Wilson" if _binary(_values(scores)) else "BCa bootstrap"


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the score interval of a share, as sweeps do. Raises UsageError for a share that cannot be."""
    try:
        return share_interval(successes, trials)
    except ValueError as error:
        raise UsageError(str(error)) from error


def bootstrap(scores: Sequence[float], seed: int = 0, method: Method = "bca") -> tuple[float, float]:
    """Return the 95 % interval of the mean over 2,000 resamples, the same for a seed.

    `percentile` takes the 2.5 % and 97.5 % points of the resampled means (B. Efron, 1979). `bca` corrects these points
    for bias and skewness (B. Efron, 1987; T. DiCiccio and B. Efron, 1996), with the acceleration of the jackknife.
    """
    import numpy as np  # noqa: PLC0415 - 0.1 s and 10 MB, only for scores that are not 0 or 1

    values = np.array(_values(scores))
    rng = np.random.default_rng(seed)
    block = max(1, _MOST_CELLS // values.size)
    means = np.concatenate(
        [
            values[rng.integers(values.size, size=(min(block, _RESAMPLES - done), values.size))].mean(axis=1)
            for done in range(0, _RESAMPLES, block)
        ]
    )
    points = [0.025, 0.975] if method == "percentile" else _bca_points(values, means)
    low, high = np.quantile(means, points)
    return float(low), float(high)


def _bca_points(values: NDArray[np.float64], means: NDArray[np.float64]) -> list[float]:
    deviations = values - values.mean()
    below = float((means < values.mean()).mean() + (means == values.mean()).mean() / 2)
    spread = float((deviations**2).sum())
    if not 0 < below < 1 or spread == 0:
        return [0.025, 0.975]  # all resamples on one side: there is nothing to correct by
    bias = _NORMAL.inv_cdf(below)
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5)
    shifted = (bias + z for z in (-_Z, _Z))
    return [_NORMAL.cdf(bias + z / (1 - acceleration * z)) for z in shifted]


def paired_difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Return (difference, low, high) of second minus first, row by row.

    For scores of 0 and 1 the interval is Wald's after adding half a row to each cell of the table of agreements (A.
    Agresti and Y. Min, 2005); otherwise a bootstrap of the differences. Raises UsageError for unequal lengths.
    """
    one, two = _values(first), _values(second)
    if len(one) != len(two):
        raise UsageError(f"Paired runs score the same rows; these have {len(one)} and {len(two)}.")
    differences = [b - a for a, b in zip(one, two, strict=True)]
    mean = math.fsum(differences) / len(differences)
    if not (_binary(one) and _binary(two)):
        return mean, *bootstrap(differences, seed)
    better, worse = sum(one > 0 for one in differences) + 0.5, sum(one < 0 for one in differences) + 0.5
    rows = len(one) + 2
    middle = (better - worse) / rows
    half = _Z * math.sqrt(better + worse - (better - worse) ** 2 / rows) / rows
    return mean, max(-1.0, middle - half), min(1.0, middle + half)


def _values(scores: Sequence[float]) -> list[float]:
    values = [float(score) for score in scores]
    if not values:
        raise UsageError("An interval needs at least one score.")
    if not all(map(math.isfinite, values)):
        raise UsageError("An interval needs finite scores.")
    return values


def _binary(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) for value in values)
