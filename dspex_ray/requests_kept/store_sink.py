"""`StoreSink`: writes batches of requests to the store from an event loop that must not wait."""

from __future__ import annotations

import asyncio
from typing import Any

from dspex_ray.requests_kept.store import RequestStore


class StoreSink:
    """For a process that may write to the store itself, such as the one that keeps it for a cluster."""

    def __init__(self, requests: RequestStore) -> None:
        self._requests = requests

    async def write(self, rows: list[dict[str, Any]]) -> None:
        """Keep the rows; those that are kept already are passed over. Raises StoreError if the store cannot be used."""
        await asyncio.to_thread(self._requests.write, rows)
