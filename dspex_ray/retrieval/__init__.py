"""Retrieval: the passages of a corpus that fit a query, from indexes in memory or a store of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dspex_agents.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from dspex_ray.retrieval.base import Passage, Retriever
    from dspex_ray.retrieval.bm25 import BM25
    from dspex_ray.retrieval.ngrams import NgramRetriever

__all__ = [
    "BM25",
    "NgramRetriever",
    "Passage",
    "Retriever",
]
_HOMES = {
    "BM25": "dspex_ray.retrieval.bm25",
    "NgramRetriever": "dspex_ray.retrieval.ngrams",
    "Passage": "dspex_ray.retrieval.base",
    "Retriever": "dspex_ray.retrieval.base",
}
__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
