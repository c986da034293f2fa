"""Non-dominated sorting of many points at once; in every coordinate larger is better."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def domination(points: Floats, violations: Floats | None = None) -> npt.NDArray[np.bool_]:
    """Return the square matrix whose [i, j] says that point i dominates point j (n * n bytes).

    A point of less violation dominates one of more, whatever the coordinates (Deb et al. 2002, section VI). Raises
    ValueError unless there is one row a point and one violation each.
    """
    points, violations = _checked(points, violations)
    no_worse = np.ones((len(points), len(points)), dtype=np.bool_)
    better = np.zeros_like(no_worse)
    for column in points.T:
        no_worse &= column[:, None] >= column[None, :]
        better |= column[:, None] > column[None, :]
    mine, theirs = violations[:, None], violations[None, :]
    dominates: npt.NDArray[np.bool_] = (mine < theirs) | ((mine == theirs) & no_worse & better)
    return dominates


def ranks(points: Floats, violations: Floats | None = None) -> npt.NDArray[np.int64]:
    """Return the front of each point: 0 for those no other dominates, 1 for those only front 0 does, and so on.

    Source: fast non-dominated sorting, Deb et al., IEEE TEC 2002. Raises ValueError as `domination` does.
    """
    return peeled(domination(points, violations))


def peeled(dominates: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the front of each point, given the matrix of `domination`."""
    result = np.full(len(dominates), -1, dtype=np.int64)
    above = dominates.sum(axis=0, dtype=np.int64)
    front = 0
    while (result < 0).any():
        members = np.flatnonzero((above == 0) & (result < 0))
        result[members] = front
        above -= dominates[members].sum(axis=0, dtype=np.int64)
        front += 1
    return result


def _checked(points: Floats, violations: Floats | None) -> tuple[Floats, Floats]:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():  # noqa: PLR2004 - a table: points by coordinates
        raise ValueError(f"Points are a table of finite numbers, one row a point, got shape {points.shape}.")
    if violations is None:
        return points, np.zeros(len(points))
    violations = np.asarray(violations, dtype=np.float64)
    if violations.shape != (len(points),):
        raise ValueError(f"{len(points)} points need as many violations, got shape {violations.shape}.")
    return points, violations
