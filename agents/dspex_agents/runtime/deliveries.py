"""The receiving end of messages at a host: single deliveries, and links over which they come in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from dspex_agents.clock import Clock
from dspex_agents.messaging.message import BEGUN, Envelope, Parcel, Reply
from dspex_agents.runtime.cell import AgentCell

_POLL_S = 10.0
_ABANDONED_S = 60.0
_TURNS = 4


class _ReplyBox:
    """What is answered to one link, until it is fetched. `open` messages are not answered yet."""

    __slots__ = ("_begun", "_replies", "_waiter", "calls", "open", "seen_at")

    def __init__(self) -> None:
        self._begun: list[str] = []
        self._replies: list[tuple[object, ...]] = []
        self._waiter: asyncio.Future[None] | None = None
        self.open = self.calls = 0
        self.seen_at = 0.0

    def __len__(self) -> int:
        return len(self._begun) + len(self._replies)

    def answer(self, envelope: Envelope, reply: Reply) -> None:
        """Keep an answer until it is fetched."""
        self.open -= 1
        if reply is BEGUN:
            self._begun.append(envelope.id)
        else:
            self._replies.append(tuple(reply))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def filled(self, timeout_s: float) -> None:
        """Return when there is something to fetch, or after so many seconds."""
        if not len(self):
            self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._waiter,), timeout=timeout_s)

    def collect(self) -> Parcel:
        """Take out all there is."""
        parcel = Parcel(self._begun, self._replies)
        self._begun, self._replies = [], []
        return parcel


class Deliveries:
    """Hands what arrives to the cells, and keeps the answers of each link until they are fetched.

    `on_lost` gets told messages of senders without a host that came to nothing after they had been taken.
    """

    def __init__(
        self, cells: Mapping[str, AgentCell], clock: Clock, on_lost: Callable[[Envelope, Reply], None]
    ) -> None:
        self._cells, self._clock, self._on_lost = cells, clock, on_lost
        self._boxes: dict[str, _ReplyBox] = {}
        self._calls = 0
        self._sweep: asyncio.TimerHandle | None = None

    async def deliver(self, envelope: Envelope) -> Reply:
        """Answer one envelope, a told one as soon as it waits in the mailbox."""
        cell = self._cells.get(envelope.to)
        if cell is None:
            return Reply(envelope.id, stale=True)
        if envelope.told:
            return self._post_told(cell, envelope)
        self._calls += 1
        try:
            return await cell.post(envelope, here=True)
        finally:
            self._calls -= 1

    async def accept(self, link_id: str, batch: tuple[tuple[object, ...], ...]) -> Parcel:
        """Take in a batch of packed envelopes, in order, and return at once, with the answers that are ready."""
        box = self._box(link_id)
        box.open += len(batch)
        for fields in batch:
            envelope = Envelope._make(fields)
            if (cell := self._cells.get(envelope.to)) is None:
                box.answer(envelope, Reply(envelope.id, stale=True))
            else:
                cell.take(envelope, box.answer)
        for _ in range(_TURNS):
            before = box.open
            await asyncio.sleep(0)  # what takes no time is answered by the next turn of the loop
            if not box.open or box.open == before:
                break
        return box.collect()

    async def replies(self, link_id: str) -> Parcel:
        """Return the answers of a link that are ready; waits for one, but not for ever."""
        box = self._box(link_id)
        box.calls += 1
        try:
            await box.filled(_POLL_S)
        finally:
            box.calls -= 1
            box.seen_at = self._clock.monotonic()
        return box.collect()

    async def emptied(self, timeout_s: float) -> None:
        """Return when every answer has left, or after so many seconds."""
        end = self._clock.monotonic() + timeout_s
        while self._has_answers and self._clock.monotonic() < end:  # noqa: ASYNC110 - for moments, at a host's end
            await asyncio.sleep(0.001)

    @property
    def _has_answers(self) -> bool:
        return bool(self._calls) or any(map(len, self._boxes.values()))

    def _box(self, link_id: str) -> _ReplyBox:
        box = self._boxes.get(link_id)
        if box is None:
            box = self._boxes[link_id] = _ReplyBox()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_ABANDONED_S, self._drop_abandoned)
        box.seen_at = self._clock.monotonic()
        return box

    def _drop_abandoned(self) -> None:
        """Drop the boxes from which nobody fetches any more: their senders are gone, or have no more to send."""
        limit = self._clock.monotonic() - _ABANDONED_S
        self._boxes = {id_: box for id_, box in self._boxes.items() if box.calls or box.seen_at > limit}
        self._sweep = None
        if self._boxes:
            self._sweep = asyncio.get_running_loop().call_later(_ABANDONED_S, self._drop_abandoned)

    def _post_told(self, cell: AgentCell, envelope: Envelope) -> Reply:
        refusal: list[Reply] = []
        is_taken = False

        def answer(told: Envelope, reply: Reply) -> None:
            if is_taken:
                self._on_lost(told, reply)
            else:
                refusal.append(reply)

        cell.take(envelope, answer)
        is_taken = True
        return refusal[0] if refusal else Reply(envelope.id)
