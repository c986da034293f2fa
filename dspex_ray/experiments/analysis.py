"""What an experiment has shown so far: pure, from the sums of each unit; right at any time, however often one looks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal

from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.experiments.experiment import Experiment
from dspex_ray.experiments.metrics import METRICS
from dspex_ray.experiments.sequential import Difference, mean_difference, rate_difference, sample_ratio
from dspex_ray.requests_kept.sums import UnitSums

RATIO_ALPHA: Final = 0.001
"""The chance of a false alarm of shares that are off, in a whole experiment."""
_NO_SPREAD: Final = 1e-9  # of the mean: what is below is rounding

Verdict = Literal["better", "worse", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmState:
    """An arm: its share as planned, and the users (or requests) and requests that it got."""

    arm: str
    weight: float
    units: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How far `arm` is from `base` in one metric. `values` and `means` are those of base and arm."""

    metric: str
    base: str
    arm: str
    values: tuple[int, int]
    means: tuple[float, float]
    difference: Difference

    @property
    def verdict(self) -> Verdict:
        """Whether the arm is surely better or worse than the base."""
        if not self.difference.is_sure:
            return "open"
        return "better" if METRICS[self.metric].sign * self.difference.estimate > 0 else "worse"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; None where nothing is known."""
        told = {"estimate": self.difference.estimate, "low": self.difference.low, "high": self.difference.high}
        means = {"base_mean": self.means[0], "arm_mean": self.means[1]}
        return {
            "metric": self.metric,
            "base": self.base,
            "arm": self.arm,
            "verdict": self.verdict,
            "base_values": self.values[0],
            "arm_values": self.values[1],
            **{name: value if math.isfinite(value) else None for name, value in (told | means).items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """All that is known. `ratio_log_e` is the evidence that the arms do not get their shares.

    `crossed` units met several arms and count for none; `users_as_requests` are units by request that name a user.
    """

    experiment: Experiment
    arms: tuple[ArmState, ...]
    findings: tuple[Finding, ...]
    ratio_log_e: float
    crossed: int = 0
    users_as_requests: int = 0

    @property
    def ratio_alarm(self) -> bool:
        """Whether the arms surely do not get their shares, so that no comparison can be trusted."""
        return self.ratio_log_e >= math.log(1 / RATIO_ALPHA)

    def of(self, arm: str) -> tuple[Finding, ...]:
        """Return the findings on one arm, in the order of the metrics."""
        return tuple(one for one in self.findings if one.arm == arm)

    @property
    def winner(self) -> str | None:
        """The arm that is surely better than the base in the first metric, the best of several; None for none."""
        first = METRICS[self.experiment.metrics[0]]
        found = [one for one in self.findings if one.metric == first.name and one.verdict == "better"]
        return max(found, key=lambda one: first.sign * one.difference.estimate).arm if found else None


def analyse(experiment: Experiment, sums: Iterable[UnitSums]) -> Analysis:
    """Return what the requests of an experiment show.

    A unit's value is the mean over its requests; where each request is a unit, success is compared by the exact test
    for rates, all else by means. Which of them is settled when the experiment starts: to choose the test by what came
    would be a second look at the same chance.
    """
    found = sorted(sums, key=lambda one: (one.unit, one.first_at, one.version))
    units = [list(group) for _, group in groupby(found, key=lambda one: one.unit)]
    kept = {arm: [] for arm in experiment.arms}  # type: dict[str, list[UnitSums]]
    for group in units:
        if len(group) == 1:
            kept[group[0].version].append(group[0])
    dealt = dict.fromkeys(experiment.arms, 0)
    for group in units:
        dealt[group[0].version] += 1  # the arm that it met first
    return Analysis(
        experiment=experiment,
        arms=tuple(
            ArmState(arm=arm, weight=weight, units=dealt[arm], requests=sum(one.requests for one in kept[arm]))
            for arm, weight in experiment.weights.items()
        ),
        findings=tuple(_findings(experiment, kept)),
        ratio_log_e=sample_ratio(dealt, experiment.weights),
        crossed=sum(len(group) > 1 for group in units),
        users_as_requests=sum(one.names_user for one in found) if experiment.by_request else 0,
    )


def _findings(experiment: Experiment, kept: Mapping[str, Sequence[UnitSums]]) -> Iterator[Finding]:
    for metric in experiment.metrics:
        if metric == "success" and experiment.by_request:
            counts = {arm: _counts(units) for arm, units in kept.items()}
            for arm in experiment.arms[1:]:
                first, second = counts[experiment.base], counts[arm]
                difference = rate_difference(first, second, alpha=experiment.level)
                values = (first.trials, second.trials)
                yield _finding(experiment, metric, arm, values, (first.rate, second.rate), difference)
            continue
        moments = {arm: _moments(list(_values(metric, units))) for arm, units in kept.items()}
        for arm in experiment.arms[1:]:
            one, other = moments[experiment.base], moments[arm]
            difference = mean_difference(one, other, alpha=experiment.level)
            means = (one.mean if one.count else math.nan, other.mean if other.count else math.nan)
            yield _finding(experiment, metric, arm, (one.count, other.count), means, difference)


def _finding(
    experiment: Experiment,
    metric: str,
    arm: str,
    values: tuple[int, int],
    means: tuple[float, float],
    difference: Difference,
) -> Finding:
    return Finding(metric=metric, base=experiment.base, arm=arm, values=values, means=means, difference=difference)


def _counts(units: Sequence[UnitSums]) -> Counts:
    return Counts(sum(one.successes for one in units), sum(one.answered for one in units))


def _values(metric: str, units: Iterable[UnitSums]) -> Iterator[float]:
    for one in units:
        total, count = (one.successes, one.answered) if metric == "success" else one.measures.get(metric, (0.0, 0))
        if count:
            yield total / count


def _moments(values: Sequence[float]) -> Moments:
    if not values:
        return Moments()
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    if squares <= len(values) * (_NO_SPREAD * mean) ** 2:  # equal prices are no sure difference by their last digit
        squares = 0.0
    return Moments(len(values), mean, squares)
