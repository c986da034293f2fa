"""Pick one result of a front: by preference, at the knee, within limits, or near the best of one objective."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from dspex_coordination.errors import OptimizerError, near_matches
from dspex_coordination.objectives.comparison import Result, best_of, gains, violation
from dspex_coordination.objectives.front import Floats
from dspex_coordination.objectives.objective import SCORE, Bound, Objective

R = TypeVar("R", bound=Result)

FOCUS: Mapping[str, tuple[str, ...]] = {
    "quality": ("score", "score_low"),
    "balanced": (),
    "cheap": ("cost_usd",),
    "fast": ("latency_s", "latency_p95_s"),
}
_FOCUSED = 0.7  # of all weight goes to the measures of the focus
_PER_THOUSAND = {"cost_per_1k": "cost_usd"}


@dataclass(frozen=True, slots=True)
class _Goals:
    objectives: tuple[Objective, ...]
    bounds: tuple[Bound, ...] = ()


def weighted(objectives: Sequence[Objective], preference: str) -> tuple[Objective, ...]:
    """Return the objectives with the weights of a preference, which sum to 1.

    "quality", "cheap" and "fast" give 0.7 to their measures (see `FOCUS`) and share the rest; "balanced" is even.
    Raises OptimizerError for another preference, or one whose measures are no objective.
    """
    if preference not in FOCUS:
        raise OptimizerError(f"Unknown preference {preference!r}. {near_matches(preference, FOCUS)}")
    focus = [objective.name for objective in objectives if objective.name in FOCUS[preference]]
    if FOCUS[preference] and not focus:
        raise OptimizerError(
            f"Preference {preference!r} needs the objective {' or '.join(map(repr, FOCUS[preference]))}; "
            f"there is {', '.join(repr(objective.name) for objective in objectives)}."
        )
    others = len(objectives) - len(focus)
    share = _FOCUSED if others else 1.0
    return tuple(
        replace(one, weight=share / len(focus) if one.name in focus else (1.0 - share if focus else 1.0) / others)
        for one in objectives
    )


def pick(results: Sequence[R], objectives: Sequence[Objective], preference: str = "balanced") -> R:
    """Return the result of the greatest weighted sum of gains, each scaled to [0, 1] over the front.

    Raises OptimizerError for an unknown preference, or if there is no result.
    """
    return _some(best_of(results, _Goals(weighted(objectives, preference))))


def knee(front: Sequence[R], objectives: Sequence[Objective]) -> R:
    """Return the result farthest above the plane through the best of each objective; of a tie the earliest.

    Beyond it a little more of one objective costs much of another. Gains are scaled to [0, 1] over the front. Source:
    Das, "On characterizing the knee of the Pareto curve", Structural Optimization 18 (1999). Raises OptimizerError if
    there is no result.
    """
    ordered = sorted((result for result in front if result.measures), key=lambda result: result.number)
    if not ordered:
        return _some(None)
    points = np.array([gains(result.measures, objectives) for result in ordered])
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    return ordered[int(np.argmax(scaled @ _normal(scaled)))]


def within(results: Sequence[R], limits: Mapping[str, float], objective: Objective = SCORE) -> R:
    """Return the best by `objective` of the results whose measures are at most `limits`.

    `cost_per_1k` limits the cost of a thousand rows in US dollars, which is 1000 `cost_usd`. Raises OptimizerError if
    none keeps all limits, naming the one that comes nearest.
    """
    goals = _Goals((objective,), tuple(_limit(name, limit) for name, limit in limits.items()))
    best = _some(best_of(results, goals))
    if violation(best.measures, goals.bounds) > 0:
        named = ", ".join(
            f"{bound.name} {best.measures[bound.name]:.6g} of {bound.at_most:.6g}" for bound in goals.bounds
        )
        raise OptimizerError(f"No result keeps the limits; the nearest is trial {best.number} with {named}.")
    return best


def near_best(
    results: Sequence[R], objectives: Sequence[Objective], tolerance: float, objective: Objective = SCORE
) -> R:
    """Return the best by the other `objectives` of the results at most `tolerance` below the best `objective`.

    The epsilon-constraint method (Haimes, Lasdon and Wismer 1971). `tolerance` is in units of the measure. Raises
    OptimizerError for a tolerance below 0, or if there is no result.
    """
    if not tolerance >= 0:
        raise OptimizerError(f"tolerance must be at least 0, got {tolerance!r}.")
    top = objective.gain(_some(best_of(results, _Goals((objective,)))).measures)
    near = [result for result in results if result.measures and objective.gain(result.measures) >= top - tolerance]
    others = tuple(one for one in objectives if one.name != objective.name)
    return _some(best_of(near, _Goals(others or (objective,))))


def _normal(scaled: Floats) -> Floats:
    best = scaled[np.argmax(scaled, axis=0)]
    ones = np.ones(scaled.shape[1])
    if abs(np.linalg.det(best)) < 1e-9:  # noqa: PLR2004 - one result is the best of two objectives: no plane
        return ones
    normal = np.asarray(np.linalg.solve(best, ones), dtype=np.float64)
    return normal / math.sqrt(float(normal @ normal)) if (normal > 0).all() else ones


def _limit(name: str, limit: float) -> Bound:
    if name in _PER_THOUSAND:
        return Bound(_PER_THOUSAND[name], at_most=limit / 1000)
    return Bound(name, at_most=limit)


def _some(result: R | None) -> R:
    if result is None:
        raise OptimizerError("There is no result to pick from: no trial has a score yet.")
    return result
