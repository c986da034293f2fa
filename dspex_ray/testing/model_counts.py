"""What a simulated model server counts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

NAMES: Final = (
    "requests",
    "answered",
    "prompt_tokens",
    "completion_tokens",
    "in_flight",
    "max_in_flight",
    "connections",
    "abandoned",
)


class ModelCounts:
    """Counts from any thread: requests, those answered with their tokens, in flight now and at most, connections.

    `abandoned` are requests whose client left before the answer was whole.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._peers: set[object] = set()
        self._lock = threading.Lock()

    def as_json(self) -> dict[str, Any]:
        """Return all counts, answers by status among them."""
        with self._lock:
            by_status = {str(status): count for status, count in sorted(self._statuses.items())}
            return {name: self._counts[name] for name in NAMES} | {"by_status": by_status}

    @contextmanager
    def request(self, peer: object) -> Iterator[int]:
        """Count a request of a connection while it is in flight; gives its number, from 0."""
        with self._lock:
            number = self._counts["requests"]
            self._counts["requests"] += 1
            self._counts["in_flight"] += 1
            self._counts["max_in_flight"] = max(self._counts["max_in_flight"], self._counts["in_flight"])
            self._peers.add(peer)
            self._counts["connections"] = len(self._peers)
        try:
            yield number
        finally:
            with self._lock:
                self._counts["in_flight"] -= 1

    def abandoned(self) -> None:
        """Count a request whose client left."""
        with self._lock:
            self._counts["abandoned"] += 1

    def status(self, status: int) -> None:
        """Count an answer that is not a reply."""
        with self._lock:
            self._statuses[status] += 1

    def answered(self, usage: Mapping[str, int]) -> None:
        """Count a reply."""
        with self._lock:
            self._statuses[200] += 1
            self._counts["answered"] += 1
            self._counts["prompt_tokens"] += usage["prompt_tokens"]
            self._counts["completion_tokens"] += usage["completion_tokens"]
