"""What a surrogate is fitted to: results as numbers of about unit scale, larger is better, with what is known of noise.

Gains are bent, so that a few terrible results do not squeeze all good ones together, as in HEBO (Cowen-Rivers et al.,
JAIR 2022); which shape fits is for the likelihood of the surrogate to say (Snelson et al., NIPS 2003). Several
objectives become one by the augmented Chebyshev function with weights drawn anew for every trial, as in ParEGO
(Knowles, IEEE TEC 2006).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dspex_coordination.beacon.kernel import Floats
from dspex_coordination.candidate import Candidate
from dspex_coordination.objectives import Bound, Objective
from dspex_coordination.objectives.comparison import gains
from dspex_coordination.optimizers.base import SearchContext, Told

_POWERS = np.linspace(-2.0, 4.0, 61)
_AUGMENTATION = 0.05
_ALIKE = 0.1  # share of results that the logarithm counts as equally good
_LEAST = 1e-300
_ROUNDING = 1e-12
_FARTHEST = 3.0  # how many deviations from its limit a measure counts at most


@dataclass(frozen=True, slots=True)
class Shape:
    """Standardized values after a transform, and the logarithm of how much it stretched the plain ones, summed up."""

    values: Floats
    stretch: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A scored candidate: its row of the encoding, gains, room to each bound, scored rows and their variance."""

    candidate: Candidate
    row: Floats
    gains: tuple[float, ...]
    room: tuple[float, ...]
    seen: int
    variance: float

    @property
    def feasible(self) -> bool:
        """Whether it kept all bounds."""
        return min(self.room, default=0.0) >= 0.0


def outcome_of(told: Told, row: Floats, context: SearchContext) -> Outcome:
    """Return what a scored trial says."""
    known = [score for score in told.scores if score is not None]
    room = tuple(_room(bound, told.measures[bound.name]) for bound in context.bounds)
    variance = float(np.var(known))
    return Outcome(told.candidate, row, gains(told.measures, context.objectives), room, len(known), variance)


def single(outcomes: Sequence[Outcome], objectives: Sequence[Objective], rng: random.Random) -> Floats:
    """Return the gain of each outcome; of several objectives a random scalarisation."""
    table = np.array([outcome.gains for outcome in outcomes])
    if len(objectives) == 1:
        return table[:, 0]
    weights = np.array([rng.expovariate(1.0) * objective.weight for objective in objectives])
    span = np.ptp(table, axis=0)
    shares = (table - table.min(axis=0)) / np.where(span > 0, span, 1.0) * (weights / weights.sum())
    result: Floats = shares.min(axis=1) + _AUGMENTATION * shares.sum(axis=1)
    return result


def standardized(values: Floats) -> Floats:
    """Return the values with mean 0 and deviation 1, or zeros if they are all alike."""
    spread = _spread(values)
    if spread == 0.0:
        return np.zeros_like(values)
    shares = values / spread
    result: Floats = shares - shares.mean()
    return result


def _spread(values: Floats) -> float:
    """Return the standard deviation, 0 if it is mere rounding; of values too large to be squared as well."""
    size = float(np.abs(values).max(initial=0.0))
    if size == 0.0:
        return 0.0
    spread = float((values / size).std())
    return spread * size if spread > _ROUNDING else 0.0


def shapes(values: Floats) -> list[Shape]:
    """Return the values bent by the power transform of greatest likelihood, and by the logarithm of what is missing.

    The powers are those of Yeo and Johnson (2000). The logarithm of the distance to the best opens up what is good; a
    tenth of the results are so near that they count as alike.
    """
    plain = standardized(values)
    powers = _yeo_johnson(plain)
    steep = (_POWERS - 1.0) * float((np.sign(plain) * np.log1p(np.abs(plain))).sum())
    best = int(np.argmax(steep - 0.5 * len(plain) * np.log(np.maximum(powers.var(axis=1), _LEAST))))
    missing = plain.max(initial=0.0) - plain
    near = max(float(np.quantile(missing, _ALIKE)), 0.01 * float(np.median(missing)), 1e-3 * float(missing.mean()))
    logs = -np.log(missing + near + _LEAST)
    return [_shape(powers[best], float(steep[best])), _shape(logs, float(logs.sum()))]


def _shape(values: Floats, steep: float) -> Shape:
    return Shape(standardized(values), steep - 0.5 * len(values) * math.log(max(float(values.var()), _LEAST)))


def sampling_variance(outcomes: Sequence[Outcome], rows: int, gains_: Floats) -> Floats:
    """Return how uncertain each outcome is because it saw only some of `rows` rows, in units of standardized gains.

    It is the variance of a mean of rows drawn without replacement, with the variance between rows pooled over all
    outcomes; on all rows there is none. `gains_` are those of the outcomes before they were standardized.
    """
    scale = _spread(gains_)
    several = [outcome.variance for outcome in outcomes if outcome.seen > 1]
    if not several or scale == 0.0:
        return np.zeros(len(outcomes))
    missing = np.array([1.0 / max(1, outcome.seen) - 1.0 / rows for outcome in outcomes])
    result: Floats = float(np.mean(several)) / scale / scale * np.maximum(0.0, missing)
    return result


def room_of(outcomes: Sequence[Outcome], bound: int) -> Floats:
    """Return how far each outcome keeps that bound, negative if it does not, in deviations."""
    room = np.array([outcome.room[bound] for outcome in outcomes])
    return np.clip(room / (_spread(room) or 1.0), -_FARTHEST, _FARTHEST)


def _room(bound: Bound, value: float) -> float:
    low = np.inf if bound.at_least is None else value - bound.at_least
    high = np.inf if bound.at_most is None else bound.at_most - value
    return float(min(low, high))


def _yeo_johnson(values: Floats) -> Floats:
    """Return a row of transformed values for each of the powers."""
    above, below = np.log1p(np.maximum(values, 0.0)), np.log1p(np.maximum(-values, 0.0))
    return _power(above, _POWERS) - _power(below, 2.0 - _POWERS)


def _power(logs: Floats, powers: Floats) -> Floats:
    flat = np.abs(powers) < 1e-9  # noqa: PLR2004 - the power 0 is the logarithm
    exponents = np.where(flat, 1.0, powers)[:, None]
    result: Floats = np.where(flat[:, None], logs, np.expm1(exponents * logs) / exponents)
    return result
