"""`BM25`: passages by the words they share with the query (Robertson & Zaragoza 2009, doi 10.1561/1500000019)."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dspex_ray.errors import ProgramError
from dspex_ray.problems import shown
from dspex_ray.retrieval.base import Passage, best_passages
from dspex_ray.retrieval.corpus import read_corpus

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Return the words of a text without case."""
    return _WORD.findall(text.casefold())


class BM25:
    """An index in memory of the words in each passage.

    A passage scores, summed over the query's words as often as they occur there,

        ln(1 + (N - n + 0.5) / (n + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length))

    where `n` of the `N` passages have the word and this one has it `tf` times. That is equation 3.15 of the source but
    for the 1 in the logarithm, which keeps words that most passages have from counting against them. `k1` (from 0 on)
    says how much repetition counts, `b` (0 to 1) how much length does. Raises ProgramError as `read_corpus` does.
    """

    def __init__(self, corpus: Any, *, k1: Any = 1.2, b: Any = 0.75) -> None:
        if not isinstance(k1, int | float) or not 0.0 <= k1 < float("inf"):
            raise ProgramError(f"BM25: k1 is a number from 0 on, got {shown(k1)}.")
        if not isinstance(b, int | float) or not 0.0 <= b <= 1.0:
            raise ProgramError(f"BM25: b is a number from 0 to 1, got {shown(b)}.")
        self.passages, self.k1, self.b = read_corpus(corpus), k1, b
        self._postings = self._indexed()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the passages; the index is made anew."""
        return _rebuilt, (self.passages, self.k1, self.b)

    @property
    def size(self) -> int:
        """The number of passages."""
        return len(self.passages)

    async def search(self, query: str, k: int) -> list[Passage]:
        """Return the best passages for a query, at most `k`; none that shares no word with it."""
        return best_passages(self.passages, self.scores(query), k)

    def scores(self, query: str) -> NDArray[np.float64]:
        """Return the score of every passage, shape (size,)."""
        scores = np.zeros(self.size)
        for word, times in Counter(words_of(query)).items():
            if word in self._postings:
                rows, values = self._postings[word]
                scores[rows] += times * values
        return scores

    def _indexed(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Return, for each word, the passages that have it and what it is worth there."""
        counts = [Counter(words_of(one.text)) for one in self.passages]
        lengths = np.array([one.total() for one in counts], dtype=np.float64)
        mean = float(lengths.mean()) or 1.0
        found: dict[str, list[tuple[int, int]]] = {}
        for row, words in enumerate(counts):
            for word, times in words.items():
                found.setdefault(word, []).append((row, times))
        damping = self.k1 * (1.0 - self.b + self.b * lengths / mean)
        postings = {}
        for word, pairs in found.items():
            rows, times = np.array(pairs, dtype=np.int64).T
            rarity = np.log1p((self.size - len(pairs) + 0.5) / (len(pairs) + 0.5))
            postings[word] = (rows, rarity * times / (times + damping[rows]))
        return postings


def _rebuilt(passages: tuple[Passage, ...], k1: float, b: float) -> BM25:
    return BM25(passages, k1=k1, b=b)
