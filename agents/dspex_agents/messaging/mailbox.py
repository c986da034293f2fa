"""A bounded mailbox with three priorities: pure data, no waiting, no clock."""

from __future__ import annotations

import heapq
import itertools
import reprlib
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args

from dspex_agents.errors import SpecError
from dspex_agents.messaging.message import Envelope, Priority, WaitingMessage

Overflow = Literal["reject", "drop_oldest", "dead_letter", "block"]
OVERFLOWS: Final[tuple[Overflow, ...]] = get_args(Overflow)
_PREVIEW = 120


class _Lines:
    """One queue for each priority, made when first needed: an idle agent's mailbox holds none."""

    __slots__ = ("_count", "_lines")

    def __init__(self) -> None:
        self._lines: list[deque[Envelope]] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Envelope]:
        return itertools.chain(*(self._lines or ()))

    def push(self, envelope: Envelope) -> None:
        if self._lines is None:
            self._lines = [deque() for _ in Priority]
        self._lines[envelope.priority].append(envelope)
        self._count += 1

    def pop(self) -> Envelope | None:
        if not self._count or self._lines is None:
            return None
        self._count -= 1
        high, normal, low = self._lines
        envelope = (high or normal or low).popleft()
        if not self._count:
            self._lines = None
        return envelope

    def pop_oldest(self, priority: int) -> Envelope | None:
        """Take out the first of this very priority."""
        if self._lines is None or not self._lines[priority]:
            return None
        self._count -= 1
        return self._lines[priority].popleft()

    def lowest(self) -> int:
        """Return the lowest priority present, -1 when there is nothing."""
        return max((number for number, line in enumerate(self._lines or ()) if line), default=-1)

    def keep(self, kept: list[Envelope]) -> None:
        """Hold these only, which are in order."""
        self._lines, self._count = None, 0
        for envelope in kept:
            self.push(envelope)


class Mailbox:
    """Waiting envelopes, highest priority first, arrival order within a priority.

    One with `not_before` counts at once and takes its place in line when it is due. At the bound, `reject` and
    `dead_letter` refuse the newcomer, `drop_oldest` gives up the oldest of the lowest priority present (one that is not
    due yet only where none is; never for a newcomer of still lower priority), and `block` lets up to `size` newcomers
    wait outside for room. Whoever loses is returned, so that it can be answered.
    """

    __slots__ = ("_delays", "_later", "_outside", "_ready", "overflow", "size")

    def __init__(self, size: int = 1000, overflow: Overflow = "reject") -> None:
        if size < 1:
            raise SpecError(f"mailbox size must be at least 1, got {size}.")
        if overflow not in OVERFLOWS:
            options = ", ".join(map(repr, OVERFLOWS))
            raise SpecError(f"mailbox overflow must be one of {options}, got {overflow!r}.")
        self.size, self.overflow = size, overflow
        self._ready = _Lines()
        self._delays = 0  # orders those that are due at the same moment
        self._later: list[tuple[float, int, Envelope]] | None = None
        self._outside: _Lines | None = None

    def __len__(self) -> int:
        return self._ready._count + (0 if self._later is None else len(self._later))  # noqa: SLF001 - twice as quick

    @property
    def outside(self) -> int:
        """How many wait outside for room."""
        return 0 if self._outside is None else len(self._outside)

    def put(self, envelope: Envelope) -> Envelope | None:
        """Take the envelope in. Return the one that lost its place, if any (it may be this one)."""
        loser = None
        if len(self) >= self.size:
            if self.overflow == "block":
                return self._leave_outside(envelope)
            loser = self._loser(envelope)
            if loser is envelope:
                return loser
        self._take_in(envelope)
        return loser

    def get(self, now: float) -> Envelope | None:
        """Take out the next envelope that may be handled at `now`, or None when there is none."""
        while self._later and self._later[0][0] <= now:
            self._ready.push(heapq.heappop(self._later)[2])
        envelope = self._ready.pop()
        if self._outside is not None and envelope is not None:
            self._admit()
        return envelope

    def next_due(self) -> float | None:
        """Return when the next delayed envelope is due, in seconds since the epoch."""
        return self._later[0][0] if self._later else None

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of all that wait, in seconds since the epoch."""
        return min((e.deadline_at for e in self._all() if e.deadline_at is not None), default=None)

    def remove(self, message_id: str) -> Envelope | None:
        """Take out the envelope of this id, or return None when it does not wait here."""
        found = next((envelope for envelope in self._all() if envelope.id == message_id), None)
        if found is not None:
            self._take_out([found])
        return found

    def expire(self, now: float) -> list[Envelope]:
        """Take out every envelope whose deadline has passed."""
        overdue = [e for e in self._all() if e.deadline_at is not None and e.deadline_at <= now]
        self._take_out(overdue)
        return overdue

    def drain(self) -> list[Envelope]:
        """Take out everything, in order."""
        everything = list(self._all())
        self._ready.keep([])
        self._later = self._outside = None
        return everything

    def listing(self, limit: int) -> tuple[WaitingMessage, ...]:
        """Return what waits, next first, at most `limit`."""
        return tuple(_shown(envelope) for envelope in itertools.islice(self._all(), max(0, limit)))

    def _all(self) -> Iterator[Envelope]:
        later = (envelope for _, _, envelope in sorted(self._later or ()))
        return itertools.chain(self._ready, later, self._outside or ())

    def _take_in(self, envelope: Envelope) -> None:
        if envelope.not_before is None:
            self._ready.push(envelope)
            return
        if self._later is None:
            self._later = []
        self._delays += 1
        heapq.heappush(self._later, (envelope.not_before, self._delays, envelope))

    def _leave_outside(self, envelope: Envelope) -> Envelope | None:
        if self._outside is None:
            self._outside = _Lines()
        if len(self._outside) >= self.size:
            return envelope
        self._outside.push(envelope)
        return None

    def _admit(self) -> None:
        while self._outside is not None and len(self) < self.size:
            envelope = self._outside.pop()
            if envelope is None:
                self._outside = None
            else:
                self._take_in(envelope)

    def _take_out(self, gone: list[Envelope]) -> None:
        if not gone:
            return
        marks = {id(envelope) for envelope in gone}
        self._ready.keep([e for e in self._ready if id(e) not in marks])
        if self._later is not None:
            self._later = [entry for entry in self._later if id(entry[2]) not in marks]
            heapq.heapify(self._later)
        if self._outside is not None:
            self._outside.keep([e for e in self._outside if id(e) not in marks])
        self._admit()

    def _loser(self, newcomer: Envelope) -> Envelope:
        if self.overflow != "drop_oldest":
            return newcomer
        later = self._later or []
        lowest = max(self._ready.lowest(), max((e.priority for _, _, e in later), default=-1))
        if newcomer.priority > lowest:
            return newcomer
        if (oldest := self._ready.pop_oldest(lowest)) is not None:
            return oldest
        entry = min(entry for entry in later if entry[2].priority == lowest)
        later.remove(entry)
        heapq.heapify(later)
        return entry[2]


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _PREVIEW


_short = _Short()


def _preview(body: Any) -> str:
    try:
        return _short.repr(body)[:_PREVIEW]
    except Exception:  # noqa: BLE001 - a body's own __repr__ may raise whatever it likes; looking must not fail
        return f"<{type(body).__name__}>"


def _shown(envelope: Envelope) -> WaitingMessage:
    e = envelope
    return WaitingMessage(
        e.id, e.sender, Priority(e.priority).name.lower(), _preview(e.body), e.deadline_at, e.not_before
    )
