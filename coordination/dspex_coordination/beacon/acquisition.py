"""How much a trial of a candidate promises: the logarithm of its expected improvement.

The logarithm stays finite and keeps a slope far below the incumbent, where the improvement itself is 0 in floating
point (Ament et al., NeurIPS 2023). Bounds multiply it by the chance that they are kept (Gardner et al., ICML 2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import erfcx, log_ndtr  # type: ignore[import-untyped] # scipy comes without types

from dspex_coordination.beacon.gaussian_process import Posterior
from dspex_coordination.beacon.kernel import Floats

_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)
_VERY_FAR = -1e3  # deviations below the incumbent from where on an asymptote is exact to 11 digits
_STEEPEST = 300.0


class Acquisition:
    """Log expected improvement over `best` by `outcome`, with a posterior of its slack for each bound.

    Without a `best`, as long as nothing keeps all bounds, only the chance to keep them counts.
    """

    def __init__(self, outcome: Posterior, best: float | None, limits: Sequence[Posterior] = ()) -> None:
        self._outcome, self._best, self._limits = outcome, best, limits

    def values(self, rows: Floats) -> Floats:
        """Return the acquisition of each row; larger promises more."""
        total = np.zeros(len(rows))
        if self._best is not None:
            mean, variance = self._outcome.predict(rows)
            deviation = np.sqrt(variance)
            total += np.log(deviation) + log_improvement((mean - self._best) / deviation)
        for limit in self._limits:
            mean, variance = limit.predict(rows)
            total += log_ndtr(mean / np.sqrt(variance))
        return total

    def slope(self, row: Floats) -> tuple[float, Floats]:
        """Return the acquisition of a row and its derivatives to the columns."""
        value, slope = 0.0, np.zeros_like(row)
        if self._best is not None:
            mean, variance, mean_slope, variance_slope = self._outcome.slopes(row)
            deviation = math.sqrt(variance)
            z = (mean - self._best) / deviation
            gain = _log_improvement(z)
            value += math.log(deviation) + gain
            up = math.exp(min(float(log_ndtr(z)) - gain, _STEEPEST)) / deviation
            side = math.exp(min(-0.5 * z * z - _LOG_ROOT_2PI - gain, _STEEPEST)) / deviation
            slope += up * mean_slope + side / (2.0 * deviation) * variance_slope
        for limit in self._limits:
            mean, variance, mean_slope, variance_slope = limit.slopes(row)
            deviation = math.sqrt(variance)
            z = mean / deviation
            chance = float(log_ndtr(z))
            value += chance
            ratio = math.exp(min(-0.5 * z * z - _LOG_ROOT_2PI - chance, _STEEPEST)) / deviation
            slope += ratio * (mean_slope - mean / (2.0 * variance) * variance_slope)
        return value, slope


def log_improvement(z: Floats) -> Floats:
    """Return log(phi(z) + z * Phi(z)) for a standard normal phi, Phi."""
    near = np.maximum(z, -1.0)
    plain = np.log(np.exp(-0.5 * near * near - _LOG_ROOT_2PI) + near * np.exp(log_ndtr(near)))
    far = np.clip(z, _VERY_FAR, -1.0)
    ratio = -far * erfcx(-far / math.sqrt(2.0)) * math.sqrt(math.pi / 2.0)  # below 1, towards 1 for small z
    tail = -0.5 * z * z - _LOG_ROOT_2PI + np.log(np.where(z > _VERY_FAR, 1.0 - ratio, 1.0 / (3.0 + z * z)))
    result: Floats = np.where(z > -1.0, plain, tail)
    return result


def _log_improvement(z: float) -> float:
    """Return `log_improvement` of one number, many times as fast."""
    if z > -1.0:
        return math.log(math.exp(-0.5 * z * z - _LOG_ROOT_2PI) + 0.5 * z * math.erfc(-z / math.sqrt(2.0)))
    ratio = -z * float(erfcx(-z / math.sqrt(2.0))) * math.sqrt(math.pi / 2.0)
    return -0.5 * z * z - _LOG_ROOT_2PI + math.log(1.0 - ratio if z > _VERY_FAR else 1.0 / (3.0 + z * z))
