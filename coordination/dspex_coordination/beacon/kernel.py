"""The covariance of results: how alike two candidates' outcomes are expected to be, with its derivatives.

The sum of a Matérn-5/2 kernel with a lengthscale a variable (automatic relevance determination), which follows whatever
is local, and a quadratic polynomial over the ordered axes, which follows a bowl or a slope through the whole space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ROOT5 = np.sqrt(5.0)


@dataclass(frozen=True, slots=True)
class Covariance:
    """A kernel with fixed parameters. `inverse` has 1 / lengthscale a column, `axes` 1.0 for a column of an axis."""

    inverse: Floats
    axes: Floats
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
        centred = self._centred(rows)
        result: Floats = self.matern + self.trend * (1.0 + (centred * centred).sum(axis=1)) ** 2
        return result

    def slopes(self, point: Floats, rows: Floats) -> Floats:
        """Return the derivatives of the covariances of `point` with `rows` to its coordinates, a row each."""
        differences = (point - rows) * self.inverse
        scaled = _ROOT5 * np.sqrt((differences * differences).sum(axis=1))
        outer = -self.matern * (5.0 / 3.0) * (1.0 + scaled) * np.exp(-scaled)
        here, there = self._centred(point[None])[0], self._centred(rows)
        bowl = 2.0 * self.trend * (1.0 + there @ here)
        result: Floats = outer[:, None] * differences * self.inverse + bowl[:, None] * there * (2.0 * self.axes)
        return result

    def diagonal_slope(self, point: Floats) -> Floats:
        """Return the derivatives of the variance at `point` to its coordinates."""
        here = self._centred(point[None])[0]
        result: Floats = self.trend * 2.0 * (1.0 + here @ here) * 2.0 * here * (2.0 * self.axes)
        return result

    def _centred(self, rows: Floats) -> Floats:
        result: Floats = (2.0 * rows - 1.0) * self.axes
        return result

    def bowl(self, one: Floats, other: Floats) -> Floats:
        """Return the quadratic part, before its variance."""
        result: Floats = (1.0 + self._centred(one) @ self._centred(other).T) ** 2
        return result


def squared(one: Floats, other: Floats) -> Floats:
    """Return the squared distances between the rows of two matrices."""
    result: Floats = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)[None, :] - 2.0 * (one @ other.T)
    return np.maximum(result, 0.0)
