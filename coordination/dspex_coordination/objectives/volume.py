"""Hypervolume: the volume that points dominate above a reference point; larger coordinates are better."""

from __future__ import annotations

import numpy as np

from dspex_coordination.objectives.front import Floats

_PLANE = 2


def hypervolume(points: Floats, reference: Floats) -> float:
    """Return the exact volume of the union of the boxes from `reference` up to each point.

    Points not above the reference in every coordinate add nothing. In one and two dimensions a sweep; in three and
    more the WFG algorithm with slicing (While, Bradstreet and Barone, IEEE TEC 2012), in n^2 log n for three and
    about n times that for each further coordinate. Raises ValueError for another number of coordinates than the
    reference has, or numbers that are not finite.
    """
    return _volume(_front(_above(points, reference)))


def contributions(points: Floats, reference: Floats) -> Floats:
    """Return for each point the volume that it alone dominates. Raises ValueError as `hypervolume` does."""
    boxes = _clipped(points, reference)
    alone = np.zeros(len(boxes))
    for index, box in enumerate(boxes):
        others = np.minimum(np.delete(boxes, index, axis=0), box)
        alone[index] = box.prod() - _volume(_front(others[(others > 0).all(axis=1)]))
    return np.maximum(alone, 0.0)


def _clipped(points: Floats, reference: Floats) -> Floats:
    points, reference = np.asarray(points, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if points.ndim != _PLANE or reference.shape != points.shape[1:]:
        raise ValueError(f"Points of shape {points.shape} need a reference of as many coordinates, got {reference!r}.")
    if not (np.isfinite(points).all() and np.isfinite(reference).all()):
        raise ValueError("Points and reference must be finite numbers.")
    return np.maximum(points - reference, 0.0)


def _above(points: Floats, reference: Floats) -> Floats:
    boxes = _clipped(points, reference)
    return boxes[(boxes > 0).all(axis=1)]


def _front(boxes: Floats) -> Floats:
    """Return the distinct boxes that no other holds, largest first coordinate first."""
    if len(boxes) < _PLANE:
        return boxes
    boxes = np.unique(boxes, axis=0)[::-1]
    if boxes.shape[1] <= _PLANE:
        last = boxes[:, -1]
        keep = np.ones(len(boxes), dtype=np.bool_)
        keep[1:] = last[1:] > np.maximum.accumulate(last)[:-1]
        return boxes[keep]
    holders = (boxes[:, None, :] <= boxes[None, :, :]).all(axis=2).sum(axis=1)
    kept: Floats = boxes[holders == 1]  # they are distinct, so only itself
    return kept


def _volume(front: Floats) -> float:
    """Return the volume of a front of boxes at the origin, as `_front` orders them."""
    if not len(front):
        return 0.0
    if front.shape[1] <= _PLANE:
        return _area(front)
    front = front[np.argsort(front[:, -1], kind="stable")]
    total = 0.0
    for index, box in enumerate(front):
        # those after it reach at least as far in the last coordinate, so what it adds is a slice of even depth
        rest = np.minimum(front[index + 1 :, :-1], box[:-1])
        total += float(box[-1]) * (float(box[:-1].prod()) - _volume(_front(rest)))
    return total


def _area(front: Floats) -> float:
    if front.shape[1] == 1:
        return float(front.max())
    depth = np.diff(front[:, 1], prepend=0.0)
    return float((front[:, 0] * depth).sum())
