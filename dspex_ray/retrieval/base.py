"""The contract of a retriever: the passages of a corpus that fit a query.

| method | called by                | must                                                                           |
|--------|--------------------------|--------------------------------------------------------------------------------|
| search | `Retrieve`, once a query | return at most `k` passages that have something in common with the query, with |
|        |                          | their scores, the best first, equals in the order of the corpus                |
| size   | `Retrieve`, when made    | be the number of passages, or None where it is not known                       |

A retriever is shared by concurrent calls. It pickles, with nothing open. One that holds connections opens them on first
use and has `async def aclose(self)`, called once by `Retrieve.aclose` on the loop that used them. What it raises
reaches the caller of the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that can be found. `id` names it in its corpus, `metadata` is JSON, `score` says how well it fits."""

    id: str
    text: str
    score: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_setting(self) -> dict[str, Any]:
        """Return the passage without its score, as a corpus may hold it."""
        return {"id": self.id, "text": self.text, "metadata": self.metadata}


@runtime_checkable
class Retriever(Protocol):
    """See the module's table."""

    @property
    def size(self) -> int | None:
        """The number of passages, None where it is not known."""
        ...

    async def search(self, query: str, k: int) -> list[Passage]:
        """Return the best passages for a query, at most `k`."""
        ...


def best_passages(passages: Sequence[Passage], scores: NDArray[np.float64], k: int) -> list[Passage]:
    """Return the `k` passages with the highest scores above 0, equals in their own order."""
    rounded = np.round(scores, _DIGITS)  # equal passages stay equal whatever the order of summation
    k = min(k, len(passages))
    bound = max(float(np.partition(rounded, len(passages) - k)[len(passages) - k]), 10.0**-_DIGITS)
    near = np.flatnonzero(rounded >= bound)
    order = np.lexsort((near, -rounded[near]))[:k]
    return [
        Passage(found.id, found.text, float(rounded[row]), found.metadata)
        for row in near[order]
        for found in (passages[row],)
    ]
