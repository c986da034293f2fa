"""Figures of the rows: percentiles, the histogram of scores, and which label was taken for which."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dspex_ray.example import value_text

if TYPE_CHECKING:
    from dspex_ray.evaluation.result import Evaluation

NO_OUTPUT = "(none)"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of all does not exceed (the nearest-rank method)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def histogram(scores: Sequence[float], bins: int = 20) -> list[int]:
    """Return how many scores lie in each of equal bins from 0 to 1; 1 belongs to the last."""
    counts = [0] * bins
    for score in scores:
        counts[min(bins - 1, int(score * bins))] += 1
    return counts


@dataclass(frozen=True, slots=True)
class Confusion:
    """One Literal field's labels and how often each (expected, given) pair occurred; no output is `(none)`."""

    field: str
    labels: tuple[str, ...]
    counts: Counter[tuple[str, str]]

    def mistakes(self, most: int) -> list[tuple[str, str, int]]:
        """Return the most frequent (expected, given, count) that differ."""
        wrong = [(*pair, count) for pair, count in self.counts.items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda one: (-one[2], one[0], one[1]))[:most]


def confusions(evaluation: Evaluation) -> list[Confusion]:
    """Return the confusion of each Literal field that the data gives, labels in the schema's order."""
    found: list[Confusion] = []
    for name, options in evaluation.literals.items():
        pairs = [
            (value_text(example.output[name]), _given(one.output, name))
            for one, example in zip(evaluation.scores, evaluation.examples, strict=False)
            if name in example.output
        ]
        used = {label for pair in pairs for label in pair}
        labels = [label for label in (*map(value_text, options), NO_OUTPUT) if label in used]
        if pairs:
            found.append(Confusion(name, tuple(labels), Counter(pairs)))
    return found


def _given(output: Any, name: str) -> str:
    return value_text(output[name]) if isinstance(output, dict) and name in output else NO_OUTPUT
