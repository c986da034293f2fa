"""`RequestRecorder`: a `Witness` that hands what came of requests to a sink, in batches and without waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from dspex_ray.calls.buffer import FLUSH_INTERVAL_S, CallBuffer, CallSink
from dspex_ray.requests_kept.request import RequestDetails, kept
from dspex_ray.serving.contract import Outcome

CAPACITY: Final = 10_000
CONTENT_CAPACITY: Final = 1_000
"""Requests that may wait; fewer where inputs and outputs wait with them."""
_NO_DETAILS: Final = RequestDetails()


class RequestRecorder:
    """Keeps requests until the sink has stored them; used on one event loop.

    Requests beyond the capacity are dropped and counted. `salt` is the store's (`RequestStore.salt`). With `content`
    inputs and outputs are kept too: whoever may read the store may read them. `also` is another witness, told first.
    """

    def __init__(
        self,
        sink: CallSink,
        *,
        salt: bytes,
        content: bool = False,
        capacity: int | None = None,
        interval_s: float = FLUSH_INTERVAL_S,
        also: Callable[[Outcome], None] | None = None,
    ) -> None:
        chosen = capacity or (CONTENT_CAPACITY if content else CAPACITY)
        self._buffer = CallBuffer(sink, capacity=chosen, interval_s=interval_s)
        self._salt, self._content, self._also = salt, content, also

    @property
    def wants_content(self) -> bool:
        """Whether inputs and outputs are kept, and worth handing over."""
        return self._content

    def saw(self, outcome: Outcome) -> None:
        """Note what came of a request, without waiting."""
        self.note(outcome, _NO_DETAILS)

    def note(self, outcome: Outcome, details: RequestDetails) -> None:
        """Note it with what else is known, without waiting."""
        if self._also is not None:
            self._also(outcome)
        self._buffer.put([kept(outcome, details, self._salt, content=self._content).to_row()])

    def status(self) -> Mapping[str, int]:
        """Return how many requests wait, were written and were dropped, and how many writes failed."""
        return self._buffer.status()

    async def start(self) -> None:
        """Begin to write in the background."""
        await self._buffer.start()

    async def close(self) -> None:
        """Write what waits, within some seconds; the rest is dropped, counted and logged."""
        await self._buffer.close()
