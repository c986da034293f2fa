"""Gaussian process regression whose lengthscales, scales and noise are learnt from the results.

Parameters are logarithms: a lengthscale for each group of columns, the variances of the Matérn kernel and of the
quadratic trend, and the variance of the noise. They maximise the posterior: the marginal likelihood times priors that
expect longer lengthscales in more dimensions (Hvarfner et al., ICML 2024) and little noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import get_lapack_funcs  # type: ignore[import-untyped] # scipy comes without types
from scipy.optimize import minimize  # type: ignore[import-untyped] # scipy comes without types

from dspex_coordination.beacon.encoding import Encoding
from dspex_coordination.beacon.kernel import Covariance, Floats, Row, squared

_ROOT, _INVERT, _INVERT_ROOT = get_lapack_funcs(("potrf", "potri", "trtri"), dtype=np.float64)
_ROOT5 = math.sqrt(5.0)
_LENGTH, _MATERN, _TREND, _NOISE = (-1.0, 1.2), (0.0, 1.0), (-2.0, 2.0), (-9.0, 2.0)  # mean and deviation of a prior
_BOUNDS = ((-3.0, 4.6), (-8.0, 6.0), (-14.0, 8.0), (-16.0, 0.7))
_MUCH_NOISE = -1.5
_LEAST_NOISE = 1e-8
_MEAN_PRECISION = 1e-2  # of the prior of the constant mean
_LEAST_VARIANCE = 1e-12
_REFUSED = 1e10  # in place of the likelihood of parameters with which nothing can be computed


@dataclass(frozen=True, slots=True)
class Data:
    """Rows of an encoding, a standardized result for each, and the variance of each that is known beforehand."""

    rows: Floats
    values: Floats
    known: Floats

    def joined(self, other: Data) -> Data:
        """Return these data and the others."""
        pairs = ((self.rows, other.rows), (self.values, other.values), (self.known, other.known))
        return Data(*(np.concatenate(pair) for pair in pairs))


def expected(encoding: Encoding) -> Floats:
    """Return the parameters that the priors expect."""
    return _priors(encoding)[0]


def guesses(encoding: Encoding) -> list[Floats]:
    """Return parameters to start from that explain results by what is near them, and by noise.

    Both can be maxima of the likelihood, and no path uphill leads from the first to the second.
    """
    by_noise = expected(encoding)
    by_noise[-1] = _MUCH_NOISE
    return [expected(encoding), by_noise]


def fitted(encoding: Encoding, data: Data, start: Floats, iterations: int) -> tuple[Floats, float]:
    """Return the most likely parameters near `start`, and minus the logarithm of their posterior; by L-BFGS-B."""
    bounds = [_BOUNDS[0]] * encoding.count + list(_BOUNDS[1:])
    low, high = np.array(bounds).T
    found: Any = minimize(
        _loss,
        np.clip(start, low, high),
        args=(encoding, data, *_priors(encoding)),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": iterations, "maxfun": 2 * iterations},
    )
    return np.asarray(found.x, dtype=np.float64), float(found.fun)


class Posterior:
    """What is believed of outcomes after the data, with given parameters."""

    def __init__(self, encoding: Encoding, parameters: Floats, data: Data) -> None:
        self.data = data
        self._kernel = _covariance(encoding, parameters)
        self._scaled, self._centred = data.rows * self._kernel.inverse, self._kernel.centred(data.rows)
        matrix = self._kernel.matrix(data.rows, data.rows)
        matrix[np.diag_indices(len(matrix))] += math.exp(parameters[-1]) + data.known + _LEAST_NOISE
        self._root: Floats = _INVERT_ROOT(_cholesky(matrix), lower=1)[0]
        ones, values = self._root.sum(axis=1), self._root @ data.values
        self._mean = float(ones @ values / (ones @ ones + _MEAN_PRECISION))
        self._weights: Floats = self._root.T @ (values - self._mean * ones)

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        """Return mean and variance of the outcome, without noise, at each row."""
        between = self._kernel.matrix(rows, self.data.rows)
        explained = between @ self._root.T
        variance = self._kernel.diagonal(rows) - (explained * explained).sum(axis=1)
        return self._mean + between @ self._weights, np.maximum(variance, _LEAST_VARIANCE)

    def slopes(self, row: Floats) -> tuple[float, float, Floats, Floats]:
        """Return mean and variance at a row, and the derivatives of both to its columns."""
        between = Row(self._kernel, row, self._scaled, self._centred)
        explained = self._root @ between.values
        mean = self._mean + float(between.values @ self._weights)
        variance = between.variance - float(explained @ explained)
        rising, falling = between.slopes(np.stack([self._weights, self._root.T @ explained]))
        if variance < _LEAST_VARIANCE:
            return mean, _LEAST_VARIANCE, rising, np.zeros_like(row)
        return mean, variance, rising, between.variance_slope - 2.0 * falling


def _covariance(encoding: Encoding, parameters: Floats) -> Covariance:
    count = encoding.count
    inverse = np.exp(-parameters[:count])[encoding.groups]
    return Covariance(inverse, encoding.middle, math.exp(parameters[count]), math.exp(parameters[count + 1]))


def _priors(encoding: Encoding) -> tuple[Floats, Floats]:
    count = encoding.count
    longer = 0.5 * math.log(max(count, 1))
    centres = [_LENGTH[0] + longer] * count + [_MATERN[0], _TREND[0], _NOISE[0]]
    spreads = [_LENGTH[1]] * count + [_MATERN[1], _TREND[1], _NOISE[1]]
    return np.array(centres), np.array(spreads)


def _cholesky(matrix: Floats) -> Floats:
    """Return the lower root; a matrix that rounding made singular gets a little more noise."""
    size = float(np.trace(matrix)) / max(len(matrix), 1)
    for jitter in (0.0, 1e-9, 1e-7, 1e-5):
        root, failed = _ROOT(matrix + jitter * size * np.eye(len(matrix)), lower=1, clean=1)
        if not failed:
            result: Floats = root
            return result
    raise np.linalg.LinAlgError("The covariance of the results is not positive definite.")


def _loss(parameters: Floats, encoding: Encoding, data: Data, centres: Floats, spreads: Floats) -> tuple[float, Floats]:
    """Return minus the logarithm of the posterior of the parameters, and its gradient."""
    kernel, noise = _covariance(encoding, parameters), math.exp(parameters[-1])
    scaled = data.rows * kernel.inverse
    far = _ROOT5 * np.sqrt(squared(scaled, scaled))
    near = kernel.matern * np.exp(-far)
    matern, trend = (1.0 + far + far * far / 3.0) * near, kernel.trend * kernel.bowl(data.rows, data.rows)
    matrix = matern + trend
    matrix[np.diag_indices(len(matrix))] += noise + data.known + _LEAST_NOISE
    root, failed = _ROOT(matrix, lower=1, clean=1)
    if failed:
        return _REFUSED, np.zeros_like(parameters)
    inverse = np.tril(_INVERT(root, lower=1)[0])
    inverse += np.tril(inverse, -1).T
    ones = inverse.sum(axis=1)
    mean = float(ones @ data.values) / (float(ones.sum()) + _MEAN_PRECISION)
    residual = data.values - mean
    weights = inverse @ residual
    off = (parameters - centres) / spreads
    value = (
        0.5 * (float(residual @ weights) + _MEAN_PRECISION * mean * mean)
        + float(np.log(np.diag(root)).sum())
        + 0.5 * float(off @ off)
    )
    pull = inverse - np.outer(weights, weights)
    inner = pull * ((5.0 / 3.0) * (1.0 + far) * near)
    columns = inner.sum(axis=1) @ (scaled * scaled) - (scaled * (inner @ scaled)).sum(axis=0)
    lengths = np.bincount(encoding.groups, weights=columns, minlength=encoding.count)
    scales = [
        0.5 * float((pull * matern).sum()),
        0.5 * float((pull * trend).sum()),
        0.5 * noise * float(np.trace(pull)),
    ]
    return value, np.concatenate([lengths, scales]) + off / spreads
