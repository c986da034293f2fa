"""`semantic`: texts that mean the same, by the cosine of their vectors."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from dspex_ray.errors import ConfigurationError
from dspex_ray.example import Example, value_text
from dspex_ray.metrics.base import MetricError, Scored, output_values
from dspex_ray.metrics.field_metric import FieldMetric, On, differs, expected_values
from dspex_ray.problems import shown

if TYPE_CHECKING:
    from dspex_ray.lm.ngrams import HashedNgrams

Embedding: TypeAlias = Callable[[list[str]], "Sequence[Sequence[float]] | Awaitable[Sequence[Sequence[float]]]"]
"""Texts to vectors of one length, in their order, plainly or awaited."""

_DIM = 1 << 16  # few hashes of different features meet


@dataclass(frozen=True)
class Semantic:
    """The (weighted) mean cosine of expected and given text, 0 where it is negative.

    Without `embedding` the vectors are hashed character n-grams and words (see `dspex_ray.lm.ngrams`): offline and
    quick, but they see spelling, not meaning. With `threshold` a row scores 1 if its mean is at least that, else 0.
    """

    embedding: Embedding | None = None
    threshold: float | None = None
    fields: Any = None

    def __post_init__(self) -> None:
        if self.embedding is not None and not callable(self.embedding):
            raise ConfigurationError(f"semantic: embedding is a function of texts, got {shown(self.embedding)}.")
        share: Any = self.threshold
        if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1):
            raise ConfigurationError(f"semantic: threshold must be above 0 and at most 1, got {share!r}.")
        object.__setattr__(self, "fields", FieldMetric(self.fields).fields)

    def on(self, on: On) -> Semantic:
        """Return the metric on these fields only."""
        return Semantic(self.embedding, self.threshold, on)

    async def __call__(self, example: Example, output: Any) -> Scored:
        """Score one row. Raises MetricError for vectors that cannot be compared."""
        got, expected = output_values(output), expected_values(example, self.fields)
        pairs = [(value_text(value), value_text(got[name]) if name in got else "") for name, value in expected.items()]
        cosines = [_offline(*pair) for pair in pairs] if self.embedding is None else await self._embedded(pairs)
        weights = [1.0 if self.fields is None or isinstance(one, str) else one[1] for one in self.fields or expected]
        mean = sum(w * c for w, c in zip(weights, cosines, strict=True)) / sum(weights)
        remarks = [
            f"{differs(name, value, got.get(name))} (similarity {cosine:.2f})"
            for (name, value), cosine in zip(expected.items(), cosines, strict=True)
            if cosine < 1
        ]
        score = min(1.0, mean) if self.threshold is None else float(mean >= self.threshold)
        return Scored(score, "; ".join(remarks) or None, {"similarity": mean})

    async def _embedded(self, pairs: list[tuple[str, str]]) -> list[float]:
        assert self.embedding is not None  # noqa: S101 - asked by the caller
        texts = [text for pair in pairs for text in pair]
        vectors: Any = self.embedding(texts)
        if inspect.isawaitable(vectors):
            vectors = await vectors
        rows = [[float(x) for x in vector] for vector in vectors]
        if len(rows) != len(texts):
            raise MetricError(f"semantic: the embedding gave {len(rows)} vectors for {len(texts)} texts.")
        return [_cosine(rows[i], rows[i + 1]) for i in range(0, len(rows), 2)]


def semantic(embedding: Embedding | None = None, threshold: float | None = None, *, on: On | None = None) -> Semantic:
    """Return a metric of similarity; see `Semantic`. Raises ConfigurationError for a bad threshold."""
    return Semantic(embedding, threshold, on)


@lru_cache(maxsize=1)
def _ngrams() -> HashedNgrams:
    from dspex_ray.lm.ngrams import HashedNgrams  # noqa: PLC0415 - numpy, only once there are texts to compare

    return HashedNgrams(_DIM)


def _offline(expected: str, got: str) -> float:
    if expected == got:
        return 1.0
    return max(0.0, min(1.0, round(float(_ngrams().similarities([expected], got)[0]), 6)))


def _cosine(one: Sequence[float], two: Sequence[float]) -> float:
    if len(one) != len(two) or not one:
        raise MetricError(f"semantic: the embedding gave vectors of {len(one)} and {len(two)} numbers.")
    if one == two:
        return 1.0
    lengths = math.sqrt(math.fsum(x * x for x in one)) * math.sqrt(math.fsum(x * x for x in two))
    cosine = math.fsum(x * y for x, y in zip(one, two, strict=True)) / lengths if lengths else 0.0
    if not math.isfinite(cosine):
        raise MetricError("semantic: the embedding gave a vector that is not finite.")
    return max(0.0, min(1.0, cosine))
