"""`FieldMetric`: a metric that compares output fields one by one, on all the data gives or on chosen ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeAlias

from dspex_ray.errors import ConfigurationError
from dspex_ray.example import Example
from dspex_ray.metrics.base import MetricError, Scored, output_values
from dspex_ray.problems import shown

On: TypeAlias = str | Sequence[str] | Mapping[str, float] | Sequence[tuple[str, float]]
"""A field, several fields, or fields with their weights."""

ABSENT: Any = object()
"""The value of a field that the output does not have."""


@dataclass(frozen=True)
class FieldMetric:
    """Scores each field in [0, 1] and joins the scores.

    `fields` are names, or (name, weight) pairs; None stands for all the data gives. Subclasses write `compare`. With
    `strict` a row scores 1 if every field does, else 0; otherwise, or with weights, it scores the weighted mean.
    Raises ConfigurationError for fields that are none and weights that are not positive.
    """

    strict: ClassVar[bool] = False

    fields: Any = None

    def __post_init__(self) -> None:
        if self.fields is not None:
            object.__setattr__(self, "fields", _chosen(type(self).__name__, self.fields))

    def on(self, on: On) -> Self:
        """Return the metric on these fields: `on("answer")`, `on(["title", "body"])`, `on({"title": 2, "body": 1})`."""
        return replace(self, fields=on)

    def compare(self, name: str, expected: Any, got: Any) -> tuple[float, str | None]:
        """Return one field's score and, unless it is 1, what is wrong. `got` may be ABSENT."""
        raise NotImplementedError

    def __call__(self, example: Example, output: Any) -> float:
        """Score one row. Raises MetricError for data that lacks a field."""
        return self.scored(example, output).score

    def scored(self, example: Example, output: Any) -> Scored:
        """Score one row and say what is wrong with it."""
        got, expected, weights = output_values(output), expected_values(example, self.fields), self._weights()
        parts = {name: self.compare(name, value, got.get(name, ABSENT)) for name, value in expected.items()}
        remarks = [remark for _, remark in parts.values() if remark]
        if self.strict and not weights:
            score = float(all(part == 1 for part, _ in parts.values()))
        else:
            shares = [weights.get(name, 1.0) for name in parts]
            score = sum(w * part for w, (part, _) in zip(shares, parts.values(), strict=True)) / sum(shares)
        return Scored(min(score, 1.0), "; ".join(remarks) or None)

    def _weights(self) -> dict[str, float]:
        return dict(self.fields) if self.fields and not isinstance(self.fields[0], str) else {}


def expected_values(example: Example, fields: Any) -> Mapping[str, Any]:
    """Return what the data gives for the fields. Raises MetricError for one it does not give."""
    wanted = list(example.output) if fields is None else [one if isinstance(one, str) else one[0] for one in fields]
    if not wanted or any(name not in example.output for name in wanted):
        raise MetricError(
            f"Example {example.id} gives {sorted(example.output)}; the metric needs {tuple(wanted) or 'a field'}."
        )
    return {name: example.output[name] for name in wanted}


def differs(name: str, expected: Any, got: Any) -> str:
    """Return the sentence on a field that is not as expected."""
    return f"{name}: expected {shown(expected)}, got {'nothing' if got is ABSENT else shown(got)}"


def _chosen(metric: str, on: On) -> tuple[Any, ...]:
    given: list[Any] = [on] if isinstance(on, str) else list(on.items()) if isinstance(on, Mapping) else list(on)
    names = [one if isinstance(one, str) else one[0] for one in given if isinstance(one, str | tuple | list) and one]
    if not given or len(names) != len(given) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{metric}: `on` is a field, several, or fields with weights; got {shown(on)}.")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{metric}: `on` names a field twice: {shown(on)}.")
    if all(isinstance(one, str) for one in given):
        return tuple(given)
    weights: list[Any] = [one[1] if not isinstance(one, str) and len(one) > 1 else None for one in given]
    if not all(isinstance(w, int | float) and math.isfinite(w) and w > 0 for w in weights):
        raise ConfigurationError(f"{metric}: every field's weight must be a number above 0, got {shown(on)}.")
    return tuple((name, float(weight)) for name, weight in zip(names, weights, strict=True))
