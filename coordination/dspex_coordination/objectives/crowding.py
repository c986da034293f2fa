"""Crowding distance: how lonely each point of a front is, and which points cover it evenly."""

from __future__ import annotations

import numpy as np

from dspex_coordination.objectives.front import Floats


def crowding_distance(points: Floats) -> Floats:
    """Return for each point the sum, over coordinates, of the gap between its two neighbours as a share of the range.

    The ends of a coordinate are infinitely lonely. Source: Deb et al., IEEE TEC 2002, section III B.
    """
    points = np.asarray(points, dtype=np.float64)
    distance = np.zeros(len(points))
    if not len(points):
        return distance
    for column in points.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance


def spread(points: Floats, count: int) -> list[int]:
    """Return in order the positions of up to `count` points that cover a front: the most crowded go, one by one."""
    points = np.asarray(points, dtype=np.float64)
    inside = np.arange(len(points))
    while len(inside) > count:
        inside = np.delete(inside, np.argmin(crowding_distance(points[inside])))
    return [int(position) for position in inside]
