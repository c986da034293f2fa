"""`NgramRetriever`: passages by the cosine of their hashed n-grams, which forgives misspellings and word endings."""

from __future__ import annotations

from typing import Any

from dspex_ray.lm.ngrams import NgramIndex
from dspex_ray.retrieval.base import Passage, best_passages
from dspex_ray.retrieval.corpus import read_corpus


class NgramRetriever:
    """An index in memory; see `NgramIndex`. Raises ProgramError as `read_corpus` does."""

    def __init__(self, corpus: Any) -> None:
        self.passages = read_corpus(corpus)
        self._index = NgramIndex([one.text for one in self.passages])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the passages; the index is made anew."""
        return type(self), (self.passages,)

    @property
    def size(self) -> int:
        """The number of passages."""
        return len(self.passages)

    async def search(self, query: str, k: int) -> list[Passage]:
        """Return the best passages for a query, at most `k`; none that shares nothing with it."""
        return best_passages(self.passages, self._index.similarities(query), k)
