"""What a metric is: a function of an example and an output, giving a score from 0 to 1, feedback and measures.

| a metric returns | meaning |
|---|---|
| a number from 0 to 1, or a bool | the score |
| `(score, feedback)` | the score, and a sentence on what is wrong |
| `Scored(score, feedback, measures={...})` | these, and named figures of the row, such as `{"words": 12}` |

Each of them plainly or awaited. What a metric raises stops the evaluation as a MetricError: a broken metric is never a
score. Only errors that say nothing about the row pass as they are: a model out of reach (LMError), a missing key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import BaseModel

from dspex_ray.errors import DspexError
from dspex_ray.example import Example
from dspex_ray.problems import shown


@dataclass(frozen=True, slots=True)
class Scored:
    """A row's score from 0 to 1, feedback in words, and the metric's own measures (finite numbers, by name)."""

    score: float
    feedback: str | None = None
    measures: Mapping[str, float] = field(default_factory=dict)


Verdict: TypeAlias = "float | tuple[float, str | None] | Scored"

Metric: TypeAlias = Callable[[Example, Any], "Verdict | Awaitable[Verdict]"]
"""Called once a row with the example and the program's output; gives a verdict, plainly or awaited.

A metric with connections has `async def aclose(self)`: it is called once, when the evaluation ends.
"""


class MetricError(DspexError):
    """A metric that raised or gave no score from 0 to 1; the message names the row and the metric."""


def output_values(output: Any) -> Mapping[str, Any]:
    """Return the fields of an output as JSON. Raises MetricError for what has no fields."""
    if isinstance(output, BaseModel):
        return output.model_dump(mode="json")
    if isinstance(output, Mapping):
        return output
    raise MetricError(f"A metric compares outputs with fields, got {shown(output)}.")
