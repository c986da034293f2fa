"""How much each variable decides whether a trial is among the best: PED-ANOVA.

Sources: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
Subspaces", IJCAI 2023 (arXiv 2304.10255): the Pearson divergence between the density of the best trials on an axis and
that of all; for variables that are active in some trials only, theorem 4.2 of "Conditional PED-ANOVA", KDD 2026 (arXiv
2601.20800). Densities are Parzen estimates on a grid with the bandwidth of Scott (1992) and one kernel as the prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from dspex_coordination.analysis.dimension import Dimension, dimensions
from dspex_coordination.analysis.run import SearchRun
from dspex_coordination.errors import SweepError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TOP_SHARE = 0.1
_LEAST_TOP = 5  # fewer say little; of a short search the better half at most
_LEAST_TRIALS = 4
_LEAST_ACTIVE = 2
_FLOOR = 1e-12
_normal = np.vectorize(NormalDist().cdf, otypes=[np.float64])
_LEAST_BANDWIDTH = 0.5 / 1.64  # in cells: nine tenths of a kernel fall into one


@dataclass(frozen=True, slots=True)
class Importance:
    """The share of one dimension; all of a run sum to 1, or all are 0 where none tells the best trials from others."""

    name: str
    share: float


def importances(run: SearchRun, measure: str | None = None, top_share: float = TOP_SHARE) -> tuple[Importance, ...]:
    """Return the dimensions that a search sets, the weightiest first; equal ones by name.

    The best are `top_share` of the trials, at least five, at most half. Raises SweepError for fewer than four trials
    with the measure, for trials that are all equally good, and for a share outside (0, 0.5].
    """
    if not 0 < top_share <= 0.5:  # noqa: PLR2004 - half of them
        raise SweepError(f"The share of best trials is above 0 and at most 0.5, got {top_share!r}.")
    objective = run.objective(measure)
    trials = run.having(objective.name)
    if len(trials) < _LEAST_TRIALS:
        raise SweepError(
            f"Sweep {run.run_id!r} has {len(trials)} trials with {objective.name!r}; importance needs at least "
            f"{_LEAST_TRIALS}."
        )
    top = _top(np.array([objective.gain(trial.measures) for trial in trials]), top_share)
    if top.all():
        raise SweepError(
            f"All {len(trials)} trials of sweep {run.run_id!r} are equally good by {objective.name!r}, so no variable "
            "can be said to matter."
        )
    axes = [axis for axis in dimensions(run.space, [trial.candidate for trial in trials]) if axis.free]
    weights = {axis.name: _weight(axis, top) for axis in axes}
    total = math.fsum(weights.values()) or 1.0
    ordered = sorted(weights.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Importance(name, weight / total) for name, weight in ordered)


def _top(gains: Floats, share: float) -> Flags:
    """Mark the best trials; those that tie with the last of them are among them."""
    count = max(math.ceil(share * len(gains)), min(_LEAST_TOP, len(gains) // 2))
    top: Flags = gains >= np.sort(gains)[-count]
    return top


def _weight(axis: Dimension, top: Flags) -> float:
    """Return the divergence of the best from all on one axis, weighted by how often it is active in both."""
    active = np.array([position is not None for position in axis.positions])
    if axis.steps < 2 or active.sum() < _LEAST_ACTIVE or not (active & top).any():  # noqa: PLR2004 - one place tells nothing
        return 0.0
    cells = np.array([0.0 if position is None else position for position in axis.positions])
    places = np.clip(np.ceil(cells * (axis.steps - 1) - 0.5).astype(np.int64), 0, axis.steps - 1)
    best, everyone = (
        _density(np.bincount(places[mine], minlength=axis.steps), axis) for mine in (active & top, active)
    )
    divergence = float(everyone @ (best / everyone - 1) ** 2)
    share_of_top, share_of_all = float((active & top).sum() / top.sum()), float(active.mean())
    return share_of_top**2 / share_of_all * divergence


def _density(counts: npt.NDArray[np.int64], axis: Dimension) -> Floats:
    seen = np.flatnonzero(counts)
    weights = counts[seen].astype(np.float64)
    kernels = _options(seen, axis.steps) if axis.kind == "nominal" else _bells(seen, weights, axis.steps)
    mixed: Floats = np.append(weights, 1.0) @ kernels / (weights.sum() + 1.0)
    return mixed + _FLOOR


def _options(seen: npt.NDArray[np.int64], steps: int) -> Floats:
    """Return one row a seen option, most of it on that option, and an even row as the prior."""
    rows = np.full((len(seen) + 1, steps), 1.0 / (len(seen) + 1))
    rows[np.arange(len(seen)), seen] += 1.0
    normalised: Floats = rows / rows.sum(axis=1, keepdims=True)
    return normalised


def _bells(seen: npt.NDArray[np.int64], weights: Floats, steps: int) -> Floats:
    """Return one row a seen cell, a normal distribution cut at both ends, and a wide one as the prior."""
    points = seen.astype(np.float64)
    spread = max(_scott(points, weights), _LEAST_BANDWIDTH)
    centres = np.append(points, (steps - 1) / 2)[:, None]
    scales = np.append(np.full(len(points), spread), float(steps))[:, None]
    edges = _normal((np.arange(steps + 1) - 0.5 - centres) / scales)
    rows: Floats = np.diff(edges, axis=1) / (edges[:, -1:] - edges[:, :1])
    return rows


def _scott(points: Floats, weights: Floats) -> float:
    total = weights.sum()
    mean = points @ weights / total
    deviation = math.sqrt(float((points - mean) ** 2 @ weights) / max(1.0, total - 1.0))
    cumulated = np.cumsum(weights)
    lower = np.searchsorted(cumulated, total // 4, side="left")
    upper = min(len(points) - 1, int(np.searchsorted(cumulated, total * 3 // 4, side="right")))
    return float(1.059 * min((points[upper] - points[lower]) / 1.34, deviation) * total**-0.2)
