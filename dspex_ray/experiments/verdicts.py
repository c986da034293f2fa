"""Findings and warnings of an experiment in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from dspex_ray.experiments.analysis import RATIO_ALPHA, Analysis, Finding
from dspex_ray.experiments.experiment import Experiment
from dspex_ray.experiments.metrics import METRICS
from dspex_ray.experiments.sequential import LEAST


def sentence(found: Finding, experiment: Experiment) -> str:
    """Return what a finding says."""
    metric, apart = METRICS[found.metric], found.difference
    sure = f"sure at {100 * (1 - experiment.alpha):g} % however often you look"
    told = f"{metric.told(apart.estimate)} {metric.unit} ({metric.told(apart.low)} to {metric.told(apart.high)})"
    if found.verdict != "open":
        return f"{found.arm} is {found.verdict} than {found.base} in {metric.name} by {told}, {sure}."
    if metric.told(apart.low) == "unknown" or not min(found.values):
        return (
            f"Of {metric.name} nothing can be said yet: {found.base} has {found.values[0]:,} values and {found.arm} "
            f"has {found.values[1]:,}; {LEAST} of each that are not all the same are needed."
        )
    return f"Whether {found.arm} and {found.base} differ in {metric.name} is not sure: {told}."


def sentences(analysis: Analysis) -> list[str]:
    """Return what all findings say, in their order."""
    return [sentence(found, analysis.experiment) for found in analysis.findings]


def warnings(analysis: Analysis, plan_revision: int | None = None) -> list[str]:
    """Return what one must know before one trusts the findings; `plan_revision` is that of the plan in force now."""
    return list(_warnings(analysis, plan_revision))


def ratio_told(analysis: Analysis) -> str:
    """Return the shares as they are and as they should be."""
    total = sum(arm.units for arm in analysis.arms)
    shares = ", ".join(
        f"{arm.arm} {arm.units:,} ({100 * arm.units / max(total, 1):.1f} % for {100 * arm.weight:g} %)"
        for arm in analysis.arms
    )
    return f"of {total:,} {units_told(analysis.experiment)} the arms got {shares}"


def units_told(experiment: Experiment) -> str:
    """Return what is compared."""
    return "requests" if experiment.by_request else "users"


def _warnings(analysis: Analysis, plan_revision: int | None) -> Iterator[str]:
    one = analysis.experiment
    if analysis.ratio_alarm:
        yield (
            f"The shares are not as planned: {ratio_told(analysis)}; by chance that happens in less than one of "
            f"{1 / RATIO_ALPHA:,.0f} experiments. Something is wrong with the assignment or the counting, so do not "
            "trust the comparisons."
        )
    if analysis.crossed:
        yield (
            f"{analysis.crossed:,} {units_told(one)} were answered by several arms and count for none: did the plan "
            "change?"
        )
    if analysis.users_as_requests:
        yield (
            f"{analysis.users_as_requests:,} requests name a user: requests of one user are not independent, and the "
            "intervals are too narrow. Compare users."
        )
    if one.status == "running" and plan_revision not in (None, one.revision):
        yield (
            f"The traffic was changed: plan {plan_revision} is in force and the experiment is of plan {one.revision}, "
            "so that it gets no more requests. Stop it."
        )
