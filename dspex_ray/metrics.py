"""Metrics: how good an output is for an example, from 0 (wrong) to 1 (right)."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel

from dspex_ray.data import Dataset
from dspex_ray.errors import ConfigurationError, DspexError, UnknownNameError
from dspex_ray.example import Example, value_text
from dspex_ray.problems import shown
from dspex_ray.program import Program

Metric: TypeAlias = Callable[[Example, Any], "float | Awaitable[float]"]
"""Called once a row with the example and the program's output; gives a score in [0, 1], plainly or awaited.

What it raises becomes a MetricError and stops the evaluation: a broken metric is never a score.
"""


class MetricError(DspexError):
    """A metric that raised or gave no number from 0 to 1; the message names the row."""


def output_values(output: Any) -> Mapping[str, Any]:
    """Return the fields of an output as JSON. Raises MetricError for what has no fields."""
    if isinstance(output, BaseModel):
        return output.model_dump(mode="json")
    if isinstance(output, Mapping):
        return output
    raise MetricError(f"A metric compares outputs with fields, got {shown(output)}.")


@dataclass(frozen=True, slots=True)
class Exact:
    """1 if every output field the data gives is equal (or each of `fields`, if named), else 0."""

    fields: tuple[str, ...] | None = None

    def __call__(self, example: Example, output: Any) -> float:
        """Score one row."""
        got, expected = output_values(output), _expected(example, self.fields)
        return float(all(name in got and _equal(got[name], value) for name, value in expected.items()))


@dataclass(frozen=True, slots=True)
class Contains:
    """The share of the expected output fields whose text occurs in the output's field, whatever its case."""

    fields: tuple[str, ...] | None = None

    def __call__(self, example: Example, output: Any) -> float:
        """Score one row."""
        got, expected = output_values(output), _expected(example, self.fields)
        found = [value_text(value).casefold() in value_text(got.get(n)).casefold() for n, value in expected.items()]
        return sum(found) / len(found)


@dataclass(frozen=True, slots=True)
class Numeric:
    """1 if every expected number is met within `tolerance` (absolute), else 0."""

    tolerance: float = 1e-6
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not (_is_number(self.tolerance) and math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ConfigurationError(f"numeric: tolerance must be a number of at least 0, got {self.tolerance!r}.")

    def __call__(self, example: Example, output: Any) -> float:
        """Score one row. Raises MetricError if the data's own value is no number."""
        got = output_values(output)
        for name, value in _expected(example, self.fields).items():
            if not _is_number(value):
                raise MetricError(f"numeric: the data's {name!r} is {shown(value)}, not a number.")
            if not _is_number(got.get(name)) or abs(got[name] - value) > self.tolerance:
                return 0.0
        return 1.0


exact = Exact()
contains = Contains()


def numeric(tolerance: float = 1e-6) -> Numeric:
    """Return a metric that accepts numbers within `tolerance`. Raises ConfigurationError for a bad one."""
    return Numeric(tolerance)


def _expected(example: Example, fields: tuple[str, ...] | None) -> Mapping[str, Any]:
    expected = example.output if fields is None else {n: example.output[n] for n in fields if n in example.output}
    if not expected or (fields is not None and len(expected) < len(fields)):
        raise MetricError(
            f"Example {example.id} gives {sorted(example.output)}; the metric needs {fields or 'a field'}."
        )
    return expected


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(got: Any, expected: Any) -> bool:
    return bool(got == expected) and isinstance(got, bool) == isinstance(expected, bool)


METRICS: dict[str, Metric] = {"exact": exact, "contains": contains, "numeric": Numeric()}


def resolve_metric(metric: str | Metric | None) -> Metric:
    """Return the metric of a name, a callable as it is, or `exact` for None.

    Raises UnknownNameError, with near matches, for another name and ConfigurationError for anything else.
    """
    if metric is None:
        return exact
    if isinstance(metric, str):
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS)
        return METRICS[metric]
    if not callable(metric):
        raise ConfigurationError(f"A metric is a name or a function (example, output) -> float, got {shown(metric)}.")
    return metric


def default_metric(program_class: type[Program], dataset: Dataset) -> Metric:
    """Return `exact` on the output fields that every row of the data gives, in the schema's order."""
    given = [n for n in program_class.Output.model_fields if all(n in example.output for example in dataset.examples)]
    return Exact(tuple(given)) if given else exact


async def score(metric: Metric, example: Example, output: Any, row: int) -> float:
    """Return the metric's score of a row. Raises MetricError naming it for an exception or no number in [0, 1]."""
    place = f"row {row} (example {example.id})"
    name = getattr(metric, "__name__", type(metric).__name__)
    try:
        value: Any = metric(example, output)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:  # a metric is the user's code and may raise anything
        raise MetricError(f"Metric {name} failed on {place}: {type(error).__name__}: {error}") from error
    if not isinstance(value, numbers.Real) or not 0.0 <= float(value) <= 1.0:
        raise MetricError(f"Metric {name} gave {shown(value)} on {place}; it must give a number from 0 to 1.")
    return float(value)
