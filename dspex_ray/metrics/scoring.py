"""Asking a metric about one row, and holding it to what a metric may answer."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Mapping
from typing import Any

from dspex_coordination.objectives.objective import STANDARD
from dspex_ray.errors import ConfigurationError, LMError, UnknownNameError
from dspex_ray.example import Example
from dspex_ray.infrastructure import is_infrastructure
from dspex_ray.metrics.base import Metric, MetricError, Scored
from dspex_ray.metrics.field_metric import FieldMetric
from dspex_ray.problems import shown

_PAIR = 2


async def scored(metric: Metric, example: Example, output: Any, row: int) -> Scored:
    """Return the metric's verdict on a row.

    Raises MetricError naming row and metric for an exception or what is no verdict. LMError that says nothing about the
    row (see `is_infrastructure`) and the wrong set-up of a metric's model are raised as they are.
    """
    place = f"row {row} (example {example.id})"
    try:
        return await judged(metric, example, output, place)
    except _NotAVerdictError as error:
        told = str(error)
        raise MetricError(told if place in told else f"Metric {metric_name(metric)}, {place}: {told}") from None
    except (ConfigurationError, UnknownNameError):
        raise
    except Exception as error:  # a metric is the user's code and may raise anything
        if isinstance(error, LMError) and is_infrastructure(error):
            raise
        raise MetricError(f"Metric {metric_name(metric)} failed on {place}: {type(error).__name__}: {error}") from error


async def score(metric: Metric, example: Example, output: Any, row: int) -> float:
    """Return the metric's score of a row; see `scored`."""
    return (await scored(metric, example, output, row)).score


class _NotAVerdictError(MetricError):
    """What a metric gave is no verdict."""


async def judged(metric: Metric, example: Example, output: Any, place: str) -> Scored:
    """Return the metric's verdict. Raises MetricError, naming the place, for what is none, and what it raises."""
    value: Any = metric.scored(example, output) if isinstance(metric, FieldMetric) else metric(example, output)
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, Scored):
        given = value
    else:
        pair: Any = value if isinstance(value, tuple) and len(value) == _PAIR else (value, None)
        given = Scored(*pair)
    number = _plain(given.score)
    if not isinstance(number, numbers.Real) or not 0.0 <= float(number) <= 1.0:
        told = shown(given.score if isinstance(value, Scored) else value)
        raise _NotAVerdictError(
            f"Metric {metric_name(metric)} gave {told} on {place}; it must give a number from 0 to 1."
        )
    if given.feedback is not None and not isinstance(given.feedback, str):
        raise _NotAVerdictError(
            f"Metric {metric_name(metric)} gave the feedback {shown(given.feedback)} on {place}; it must be text."
        )
    return Scored(float(number), given.feedback, _measures(metric, given.measures, place))


def _measures(metric: Metric, measures: Any, place: str) -> dict[str, float]:
    if not isinstance(measures, Mapping):
        raise _NotAVerdictError(
            f"Metric {metric_name(metric)} gave the measures {shown(measures)} on {place}; they are numbers by name."
        )
    kept: dict[str, float] = {}
    for name, value in measures.items():
        number = _plain(value)
        if not isinstance(name, str) or not name or name in STANDARD:
            raise _NotAVerdictError(
                f"Metric {metric_name(metric)} gave a measure named {shown(name)} on {place}; give it another name."
            )
        if not isinstance(number, numbers.Real) or not math.isfinite(float(number)):
            raise _NotAVerdictError(
                f"Metric {metric_name(metric)} gave {shown(value)} as {name!r} on {place}; measures are finite numbers."
            )
        kept[name] = float(number)
    return kept


def _plain(value: Any) -> Any:
    """Return a scalar of numpy or torch as Python's own."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def metric_name(metric: Metric) -> str:
    """Return what messages and reports call the metric."""
    return str(getattr(metric, "__name__", type(metric).__name__))


async def close_metric(metric: Metric) -> None:
    """Close the connections of a metric that has any."""
    close = getattr(metric, "aclose", None)
    if close is not None:
        await close()
