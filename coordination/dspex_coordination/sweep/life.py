"""`Life`: what the store shows of a sweep to others: its status, that its driver lives, and what they ask of it."""

from __future__ import annotations

from collections.abc import Sequence

from dspex_coordination.sweep.record import Request, SweepRecord
from dspex_coordination.sweep.result import SweepStatus
from dspex_coordination.sweep.store import SweepStore

LOOK_S = 0.5  # how often requests are looked for, in seconds
BEAT_S = 5.0  # how often the driver of a quiet sweep says that it lives
_ABSENT_S = 60.0  # a longer gap between two looks is no work: the machine slept


class Life:
    """The visible life of one sweep. Times are seconds since the epoch, passed in."""

    def __init__(self, store: SweepStore, run_id: str) -> None:
        self.stored: SweepStatus | None = None  # None until it is opened
        self.active_s = 0.0
        self._store, self._run_id = store, run_id
        self._seen: float | None = None
        self._beaten = self._looked = float("-inf")

    def open(self, record: SweepRecord | None) -> None:
        """Begin with what is stored; None for a sweep that was just created."""
        self.stored = "running" if record is None else record.status
        self.active_s = 0.0 if record is None else record.active_s

    def tick(self, now: float, *, working: bool) -> None:
        """Let time pass, and say every few seconds that the driver lives."""
        if self._seen is not None and working:
            self.active_s += min(max(0.0, now - self._seen), _ABSENT_S)
        self._seen = now
        if now - self._beaten >= BEAT_S:
            self._beaten = now
            self._store.beat(self._run_id, now, self.active_s)

    def set(self, status: SweepStatus, now: float, note: str | None) -> None:
        """Store a change of status, with the reason for it."""
        if status != self.stored:
            self._store.beat(self._run_id, now, self.active_s)
            self._store.set_status(self._run_id, status, now, note)
            self.stored = status

    def requests(self, now: float) -> Sequence[Request]:
        """Return what was asked since the last look, at most every half second."""
        if 0 <= now - self._looked < LOOK_S:
            return ()
        self._looked = now
        return self._store.requests(self._run_id, untaken=True)

    def leave(self) -> None:
        """Show at once that nobody drives the sweep any more, where its status does not say so."""
        if self.stored in ("running", "paused"):
            self._store.beat(self._run_id, 0.0, self.active_s)
