"""Sequential tests that stay valid under continuous looking: the chance of ever being wrong is at most the level.

| question                                  | method                                                                  |
|-------------------------------------------|-------------------------------------------------------------------------|
| do two success rates differ, and how far? | mixture likelihood ratio against the best rates with that difference    |
|                                           | (universal inference: Wasserman, Ramdas and Balakrishnan 2020); exact   |
| do two means differ, and how far?         | asymptotic confidence sequence (Waudby-Smith et al., arXiv:2103.06476)  |
| do the arms get the shares they should?   | Dirichlet mixture against them (Lindon and Malek, arXiv:2011.03567)     |

An *e-value* is at most 1 on average if there is no difference, at any time one may stop at; 1 / alpha is as good as a
p-value of alpha (Ville 1939).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dspex_ray.errors import UsageError
from dspex_ray.experiments.evidence import Counts, Moments

LEAST: Final = 30
"""Values an arm needs before its mean is compared: the sequence for means holds for many values."""

_PRIOR: Final = 0.5  # Jeffreys' for a rate
_LEAST_RATE: Final = 1e-12
_HALVINGS: Final = 30  # of an interval of length 1: to 1e-9


@dataclass(frozen=True, slots=True)
class Difference:
    """Second minus first, with an interval that holds at all times together with probability 1 - alpha.

    `log_e` is the natural logarithm of the evidence against there being none; None where a method has none.
    """

    estimate: float
    low: float
    high: float
    alpha: float
    log_e: float | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def rate_difference(first: Counts, second: Counts, *, alpha: float = 0.05) -> Difference:
    """Return how far two success rates are apart. Without a trial on each side the interval is all there is."""
    _check_level(alpha)
    if not first.trials or not second.trials:
        return Difference(math.nan, -1.0, 1.0, alpha, 0.0)
    mixed = _log_mixed(first) + _log_mixed(second)
    limit = math.log(1 / alpha)

    def excess(difference: float) -> float:
        return mixed - _log_best(first, second, difference) - limit

    estimate = second.rate - first.rate
    low, high = (_crossing(excess, estimate, end) for end in (-1.0, 1.0))
    return Difference(estimate, low, high, alpha, rate_evidence(first, second))


def rate_evidence(first: Counts, second: Counts) -> float:
    """Return the logarithm of the evidence that two success rates differ at all; 0 without a trial."""
    both = first + second
    return _log_mixed(first) + _log_mixed(second) - _log_likelihood(both, both.rate) if both.trials else 0.0


def mean_difference(first: Moments, second: Moments, *, alpha: float = 0.05, tuned_for: int = 1000) -> Difference:
    """Return how far two means are apart; the interval is narrowest once both arms together have `tuned_for` values.

    Below `LEAST` values an arm, or without any spread, nothing is said: the interval is infinite. An arm's variance
    counts as at least the one within both arms: a small arm has not met its rare values yet, and with a tenth of the
    users would be called different in a third of the experiments on equal arms with 2 % of failures.
    """
    _check_level(alpha)
    if tuned_for < 1:
        raise UsageError(f"tuned_for is a number of values above 0, got {tuned_for}.")
    estimate = second.mean - first.mean if first.count and second.count else math.nan
    total = first.count + second.count
    within = (first.squares + second.squares) / max(total - 2, 1)
    spread = total * sum(max(one.variance, within) / max(one.count, 1) for one in (first, second))
    if min(first.count, second.count) < LEAST or spread <= 0:
        return Difference(estimate, -math.inf, math.inf, alpha)
    boundary = -2 * math.log(alpha)
    rho2 = (boundary + math.log(boundary + 1)) / tuned_for
    grown = total * rho2 + 1
    half = math.sqrt(spread * 2 * grown / (total * total * rho2) * math.log(math.sqrt(grown) / alpha))
    return Difference(estimate, estimate - half, estimate + half, alpha)


def sample_ratio(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Return the logarithm of the evidence that the arms do not get the shares that they should.

    `counts` are independent assignments by arm, such as users. Above log(1 / alpha) something is wrong with the
    assignment or the counting, and no comparison can be trusted. Raises UsageError for a count without a weight.
    """
    if unknown := [arm for arm, count in counts.items() if count and not weights.get(arm, 0) > 0]:
        raise UsageError(f"Arms without a weight cannot have been assigned: {', '.join(sorted(unknown))}.")
    total = math.fsum(weights.values())
    shares = {arm: weight / total for arm, weight in weights.items() if weight > 0}
    strength = float(len(shares))  # as strong as one assignment an arm
    number = sum(counts.get(arm, 0) for arm in shares)
    found = math.lgamma(strength) - math.lgamma(strength + number)
    for arm, share in shares.items():
        prior, count = strength * share, counts.get(arm, 0)
        found += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return found


def _log_mixed(counts: Counts) -> float:
    """Return the log likelihood under rates mixed by Jeffreys' prior: a ratio of beta functions."""
    return _log_beta(_PRIOR + counts.successes, _PRIOR + counts.failures) - _log_beta(_PRIOR, _PRIOR)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_best(first: Counts, second: Counts, difference: float) -> float:
    """Return the log likelihood of the best two rates that are so far apart. It is concave in either rate."""
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    rate = _turning(lambda rate: _slope(first, rate) + _slope(second, rate + difference) > 0, low, high)
    return _log_likelihood(first, rate) + _log_likelihood(second, rate + difference)


def _slope(counts: Counts, rate: float) -> float:
    """Return the derivative of the log likelihood inside (0, 1)."""
    up = counts.successes / rate if counts.successes else 0.0
    return up - (counts.failures / (1 - rate) if counts.failures else 0.0)


def _log_likelihood(counts: Counts, rate: float) -> float:
    rate = min(max(rate, _LEAST_RATE), 1 - _LEAST_RATE)
    return counts.successes * math.log(rate) + counts.failures * math.log1p(-rate)


def _crossing(excess: Callable[[float], float], estimate: float, end: float) -> float:
    """Return where the evidence against a difference passes the limit, on the way from the estimate to the end."""
    return _turning(lambda difference: excess(difference) <= 0, estimate, end)


def _turning(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return the place where what holds at first ends to hold, by halving; the end itself if it holds all the way."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return (inside + outside) / 2


def _check_level(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is between 0 and 1, got {alpha!r}.")
