"""A bounded mailbox with three priorities: pure data, no waiting, no clock."""

from __future__ import annotations

from collections import deque
from typing import Literal

from dspex_agents.errors import SpecError
from dspex_agents.messaging.message import Envelope, Priority

Overflow = Literal["reject", "drop_oldest"]


class Mailbox:
    """Waiting envelopes, highest priority first, arrival order within a priority.

    At its bound, `reject` refuses the newcomer and `drop_oldest` gives up the oldest of the lowest priority present
    (but never for a newcomer of still lower priority). Whoever loses is returned, so that it can be answered.
    """

    def __init__(self, size: int = 1000, overflow: Overflow = "reject") -> None:
        if size < 1:
            raise SpecError(f"mailbox size must be at least 1, got {size}.")
        if overflow not in ("reject", "drop_oldest"):
            raise SpecError(f"mailbox overflow must be 'reject' or 'drop_oldest', got {overflow!r}.")
        self.size, self.overflow = size, overflow
        self._queues: dict[Priority, deque[Envelope]] = {priority: deque() for priority in Priority}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def put(self, envelope: Envelope) -> Envelope | None:
        """Take the envelope in. Return the one that lost its place, if any (it may be this one)."""
        loser = None
        if len(self) >= self.size:
            loser = self._loser(envelope)
            if loser is envelope:
                return loser
        self._queues[envelope.priority].append(envelope)
        return loser

    def get(self) -> Envelope | None:
        """Take out the next envelope, or None when there is none."""
        for queue in self._queues.values():
            if queue:
                return queue.popleft()
        return None

    def remove(self, message_id: str) -> Envelope | None:
        """Take out the envelope of this id, or return None when it does not wait here."""
        for queue in self._queues.values():
            for envelope in queue:
                if envelope.id == message_id:
                    queue.remove(envelope)
                    return envelope
        return None

    def drain(self) -> list[Envelope]:
        """Take out everything, in order."""
        everything = [envelope for queue in self._queues.values() for envelope in queue]
        for queue in self._queues.values():
            queue.clear()
        return everything

    def _loser(self, newcomer: Envelope) -> Envelope:
        if self.overflow == "reject":
            return newcomer
        lowest = max(priority for priority, queue in self._queues.items() if queue)
        return newcomer if newcomer.priority > lowest else self._queues[lowest].popleft()
