"""Replies in this process's memory, the least recently used dropped first."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any

from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.cache.base import CachedReply

_OVERHEAD_BYTES = 2_000  # of one entry beside its texts: objects, keys, the request's other fields


class MemoryCache:
    """At most `max_bytes` of replies, counted roughly. Safe with threads. Raises ConfigurationError for no room."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        if max_bytes < 1:
            raise ConfigurationError(f"A memory cache needs max_bytes of at least 1, got {max_bytes}.")
        self.max_bytes, self.bytes = max_bytes, 0
        self._kept: OrderedDict[str, tuple[CachedReply, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> CachedReply | None:
        """Return what is kept under the key."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, kept: CachedReply) -> None:
        """Keep a reply, unless it is larger than the whole cache."""
        size = _size(kept)
        with self._lock:
            _, before = self._kept.pop(kept.key, (None, 0))
            self.bytes -= before
            if size > self.max_bytes:
                return
            self._kept[kept.key] = (kept, size)
            self.bytes += size
            while self.bytes > self.max_bytes:
                _, (_, dropped) = self._kept.popitem(last=False)
                self.bytes -= dropped

    def __len__(self) -> int:
        return len(self._kept)


def _size(kept: CachedReply) -> int:
    asked = sum(_length(message["content"]) for message in kept.request.get("messages", ()))
    return _OVERHEAD_BYTES + len(kept.text) + asked


def _length(content: Any) -> int:
    """Return the characters of a message's content: a text, or parts of which some are pictures."""
    return len(content) if isinstance(content, str) else len(json.dumps(content))
