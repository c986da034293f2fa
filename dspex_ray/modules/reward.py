"""A reward: how good an output is for an input, without a label to compare it with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from dspex_ray.errors import DspexError, ProgramError, UsageError
from dspex_ray.infrastructure import is_infrastructure
from dspex_ray.metrics.base import MetricError, Scored, Verdict
from dspex_ray.metrics.field_metric import FieldMetric
from dspex_ray.metrics.scoring import judged, metric_name
from dspex_ray.problems import shown

Reward: TypeAlias = Callable[[Any, Any], "Verdict | Awaitable[Verdict]"]
"""Called with input and output; gives a number from 0 to 1, `(score, feedback)` or `Scored`, plainly or awaited."""


def check_reward(metric: Any, name: str) -> None:
    """Raise ProgramError for what cannot be a reward."""
    if isinstance(metric, FieldMetric):
        raise ProgramError(
            f"{name}.metric is {metric_name(metric)}, which compares with a label; there is none when an answer is "
            "asked for. Give a function metric(input, output) -> a number from 0 to 1."
        )
    if not callable(metric):
        raise ProgramError(
            f"{name}.metric is a function metric(input, output) -> a number from 0 to 1, got {shown(metric)}."
        )


async def rewarded(metric: Any, given: Any, output: Any, place: str) -> Scored:
    """Return the verdict on an output. Raises MetricError for what is none, or naming the place for what it raises.

    The caller's mistake and a model out of reach, which say nothing about the output, are raised as they are.
    """
    try:
        return await judged(metric, given, output, place)
    except (UsageError, MetricError):
        raise
    except Exception as error:  # a reward is the user's code and may raise anything
        if isinstance(error, DspexError) and is_infrastructure(error):
            raise
        raise MetricError(f"Metric {metric_name(metric)} failed on {place}: {type(error).__name__}: {error}") from error
