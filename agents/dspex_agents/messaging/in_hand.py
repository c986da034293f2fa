"""The message in hand: what code that runs for a message knows of it, however deep inside."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from dspex_agents.messaging.message import Envelope


class InHand:
    """One message being handled, by `task` once that has begun. Times are monotonic seconds.

    `marked_at` is when it began or last showed progress; `ended` says why it was cut short, if it was.
    """

    __slots__ = ("began_at", "ended", "envelope", "marked_at", "task")

    def __init__(self, envelope: Envelope, now: float) -> None:
        self.envelope = envelope
        self.task: asyncio.Task[None] | None = None
        self.began_at = self.marked_at = now
        self.ended = ""

    def cut(self, why: str) -> None:
        """Raise CancelledError inside the code that handles it."""
        self.ended = why
        if self.task is not None:
            self.task.cancel()

    def forget_cut(self) -> None:
        """Let the task go on with another message: this one was cancelled, not the task."""
        while self.task is not None and self.task.cancelling():
            self.task.uncancel()


in_hand: ContextVar[InHand | None] = ContextVar("dspex_in_hand", default=None)
"""The message for which the present code runs; carried over into its tasks and threads."""
