"""`weighted`: several metrics as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dspex_ray.errors import ConfigurationError
from dspex_ray.example import Example
from dspex_ray.metrics.base import Metric, Scored
from dspex_ray.metrics.scoring import close_metric, judged
from dspex_ray.problems import shown


@dataclass(frozen=True)
class Weighted:
    """The weighted mean of the scores of several metrics; their feedback and measures are joined."""

    parts: tuple[tuple[Metric, float], ...]

    async def __call__(self, example: Example, output: Any) -> Scored:
        """Score one row by every part. Raises what a part raises."""
        scored = [await judged(metric, example, output, f"example {example.id}") for metric, _ in self.parts]
        total = sum(weight for _, weight in self.parts)
        score = sum(one.score * weight for one, (_, weight) in zip(scored, self.parts, strict=True)) / total
        feedback = "\n".join(one.feedback for one in scored if one.feedback)
        measures = {name: value for one in scored for name, value in one.measures.items()}
        return Scored(min(1.0, score), feedback or None, measures)

    async def aclose(self) -> None:
        """Close what the parts hold open."""
        for metric, _ in self.parts:
            await close_metric(metric)


def weighted(*parts: tuple[Metric, float]) -> Weighted:
    """Return a metric that joins (metric, weight) pairs. Raises ConfigurationError for what is none."""
    given: tuple[Any, ...] = parts
    for part in given:
        good = isinstance(part, Sequence) and len(part) == 2 and callable(part[0])  # noqa: PLR2004 - metric, weight
        if not good or not isinstance(part[1], int | float) or not 0 < part[1] < math.inf:
            raise ConfigurationError(f"weighted takes (metric, weight) pairs with weights above 0, got {shown(part)}.")
    if not parts:
        raise ConfigurationError("weighted needs at least one (metric, weight) pair.")
    return Weighted(tuple((metric, float(weight)) for metric, weight in parts))
