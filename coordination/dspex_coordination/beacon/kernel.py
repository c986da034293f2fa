"""The covariance of results: how alike two candidates' outcomes are expected to be, with its derivatives.

The sum of a Matérn-5/2 kernel with a lengthscale a variable (automatic relevance determination), which follows whatever
is local, and a quadratic polynomial, which follows what one or two variables do in the whole space: a bowl, a slope, an
option that is better than others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ROOT5 = np.sqrt(5.0)


@dataclass(frozen=True, slots=True)
class Covariance:
    """A kernel with fixed parameters. `inverse` is 1 / lengthscale by column, `middle` the centre of the polynomial."""

    inverse: Floats
    middle: Floats
    matern: float
    trend: float

    def matrix(self, one: Floats, other: Floats) -> Floats:
        """Return the covariances between the rows of two matrices."""
        scaled = _ROOT5 * np.sqrt(squared(one * self.inverse, other * self.inverse))
        near = (1.0 + scaled + scaled * scaled / 3.0) * np.exp(-scaled)
        result: Floats = self.matern * near + self.trend * self.bowl(one, other)
        return result

    def diagonal(self, rows: Floats) -> Floats:
        """Return the variance of each row."""
        centred = self.centred(rows)
        result: Floats = self.matern + self.trend * (1.0 + (centred * centred).sum(axis=1)) ** 2
        return result

    def centred(self, rows: Floats) -> Floats:
        """Return the rows around the middle, each axis from -1 to 1."""
        result: Floats = 2.0 * (rows - self.middle)
        return result

    def bowl(self, one: Floats, other: Floats) -> Floats:
        """Return the quadratic part, before its variance."""
        result: Floats = (1.0 + self.centred(one) @ self.centred(other).T) ** 2
        return result


class Row:
    """The covariances of one point with the rows of a matrix, and weighted sums of their derivatives."""

    def __init__(self, kernel: Covariance, point: Floats, scaled: Floats, centred: Floats) -> None:
        """`scaled` and `centred` are the rows as `Covariance.scaled` and `Covariance.centred` give them."""
        self._kernel, self._there = kernel, centred
        self._apart = point * kernel.inverse - scaled
        far = _ROOT5 * np.sqrt(np.einsum("ij,ij->i", self._apart, self._apart))
        near = kernel.matern * np.exp(-far)
        self._here = kernel.centred(point[None])[0]
        self._dot = 1.0 + centred @ self._here
        self._steep = (-5.0 / 3.0) * (1.0 + far) * near
        self.values: Floats = (1.0 + far + far * far / 3.0) * near + kernel.trend * self._dot * self._dot

    def slopes(self, weights: Floats) -> Floats:
        """Return for each row of weights the derivatives of the weighted sum of covariances to the coordinates."""
        local = (weights * self._steep) @ self._apart * self._kernel.inverse
        wide = (weights * self._dot) @ self._there * (4.0 * self._kernel.trend)
        result: Floats = local + wide
        return result

    @property
    def variance(self) -> float:
        """The variance of the point itself."""
        return self._kernel.matern + self._kernel.trend * (1.0 + float(self._here @ self._here)) ** 2

    @property
    def variance_slope(self) -> Floats:
        """The derivatives of that variance."""
        result: Floats = 8.0 * self._kernel.trend * (1.0 + self._here @ self._here) * self._here
        return result


def squared(one: Floats, other: Floats) -> Floats:
    """Return the squared distances between the rows of two matrices."""
    result: Floats = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)[None, :] - 2.0 * (one @ other.T)
    return np.maximum(result, 0.0)
