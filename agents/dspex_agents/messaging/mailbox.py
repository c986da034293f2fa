"""A bounded mailbox with three priorities: pure data, no waiting, no clock."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

from dspex_agents.errors import SpecError
from dspex_agents.messaging.message import Envelope, Priority, WaitingMessage
from dspex_agents.messaging.preview import preview

Overflow = Literal["reject", "drop_oldest", "dead_letter", "block"]
OVERFLOWS: Final[tuple[Overflow, ...]] = get_args(Overflow)
_Line = deque[Envelope]
_Lines = tuple[_Line, _Line, _Line]


class Mailbox:
    """Waiting envelopes, highest priority first, arrival order within a priority.

    One with `not_before` counts at once and takes its place in line when it is due. At the bound, `reject` and
    `dead_letter` refuse the newcomer, `drop_oldest` gives up the oldest of the lowest priority present (one that is not
    due yet only where none is; never for a newcomer of still lower priority), and `block` lets up to `size` newcomers
    wait outside for room. Whoever loses is returned, so that it can be answered. Queues exist only while they are
    needed: an idle agent's mailbox costs next to nothing.
    """

    __slots__ = ("_delays", "_later", "_lines", "_outside", "_outside_count", "count", "overflow", "size")

    def __init__(self, size: int = 1000, overflow: Overflow = "reject") -> None:
        if size < 1:
            raise SpecError(f"mailbox size must be at least 1, got {size}.")
        if overflow not in OVERFLOWS:
            options = ", ".join(map(repr, OVERFLOWS))
            raise SpecError(f"mailbox overflow must be one of {options}, got {overflow!r}.")
        self.size, self.overflow = size, overflow
        self.count = 0  # of all but those outside
        self._lines: _Lines | None = None
        self._later: list[tuple[float, int, Envelope]] | None = None
        self._delays = 0  # orders those that are due at the same moment
        self._outside: _Lines | None = None
        self._outside_count = 0

    def __len__(self) -> int:
        return self.count

    @property
    def outside(self) -> int:
        """How many wait outside for room."""
        return self._outside_count

    def put(self, envelope: Envelope) -> Envelope | None:
        """Take the envelope in. Return the one that lost its place, if any (it may be this one)."""
        loser = None
        if self.count >= self.size:
            if self.overflow == "block":
                return self._leave_outside(envelope)
            loser = self._make_room(envelope)
            if loser is envelope:
                return loser
        self.count += 1
        if envelope.not_before is not None:
            self._delay(envelope)
        else:
            if self._lines is None:
                self._lines = _new_lines()
            self._lines[envelope.priority].append(envelope)
        return loser

    def get(self, now: float) -> Envelope | None:
        """Take out the next envelope that may be handled at `now`, or None when there is none."""
        if self._later:
            self._ripen(now)
        if self._lines is None:
            return None
        high, normal, low = self._lines
        line = high or normal or low
        if not line:
            return None
        self.count -= 1
        envelope = line.popleft()
        if not self.count:
            self._lines = None
        if self._outside_count:
            self._admit()
        return envelope

    def next_due(self) -> float | None:
        """Return when the next delayed envelope is due, in seconds since the epoch."""
        return self._later[0][0] if self._later else None

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of all that wait, in seconds since the epoch."""
        return min((e.deadline_at for e in self._all() if e.deadline_at is not None), default=None)

    def remove(self, message_id: str) -> Envelope | None:
        """Take out the envelope of this id or key, or return None when it does not wait here."""
        found = next((envelope for envelope in self._all() if message_id in (envelope.id, envelope.key)), None)
        if found is not None:
            self._take_out([found])
        return found

    def expire(self, now: float) -> list[Envelope]:
        """Take out every envelope whose deadline has passed, in order."""
        overdue = [e for e in self._all() if e.deadline_at is not None and e.deadline_at <= now]
        self._take_out(overdue)
        return overdue

    def drain(self) -> list[Envelope]:
        """Take out everything, in order."""
        everything = list(self._all())
        self.count = self._outside_count = 0
        self._lines = self._outside = self._later = None
        return everything

    def listing(self, limit: int) -> tuple[WaitingMessage, ...]:
        """Return what waits, next first, at most `limit`: the delayed after all others, those outside last."""
        return tuple(_shown(envelope) for envelope in itertools.islice(self._all(), max(0, limit)))

    def _all(self) -> Iterator[Envelope]:
        later = (envelope for _, _, envelope in sorted(self._later or ()))
        return itertools.chain(*(self._lines or ()), later, *(self._outside or ()))

    def _delay(self, envelope: Envelope) -> None:
        if self._later is None:
            self._later = []
        self._delays += 1
        heapq.heappush(self._later, (envelope.not_before or 0.0, self._delays, envelope))

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            envelope = heapq.heappop(self._later)[2]
            if self._lines is None:
                self._lines = _new_lines()
            self._lines[envelope.priority].append(envelope)

    def _leave_outside(self, envelope: Envelope) -> Envelope | None:
        if self._outside_count >= self.size:
            return envelope
        if self._outside is None:
            self._outside = _new_lines()
        self._outside[envelope.priority].append(envelope)
        self._outside_count += 1
        return None

    def _admit(self) -> None:
        while self._outside is not None and self.count < self.size:
            self._outside_count -= 1
            high, normal, low = self._outside
            envelope = (high or normal or low).popleft()
            if not self._outside_count:
                self._outside = None
            self.put(envelope)

    def _take_out(self, gone: list[Envelope]) -> None:
        if not gone:
            return
        marks = {id(envelope) for envelope in gone}
        self._lines = _without(self._lines, marks)
        self._later = [entry for entry in self._later or () if id(entry[2]) not in marks] or None
        heapq.heapify(self._later or [])
        self._outside = _without(self._outside, marks)
        self.count = sum(map(len, self._lines or ())) + len(self._later or ())
        self._outside_count = sum(map(len, self._outside or ()))
        self._admit()

    def _make_room(self, newcomer: Envelope) -> Envelope:
        if self.overflow != "drop_oldest":
            return newcomer
        lines, later = self._lines or _new_lines(), self._later or []
        lowest = max(
            max((number for number, line in enumerate(lines) if line), default=-1),
            max((envelope.priority for _, _, envelope in later), default=-1),
        )
        if newcomer.priority > lowest:
            return newcomer
        if lines[lowest]:
            self.count -= 1
            return lines[lowest].popleft()
        loser = min(entry for entry in later if entry[2].priority == lowest)[2]
        self._take_out([loser])
        return loser


def _new_lines() -> _Lines:
    return deque(), deque(), deque()


def _without(lines: _Lines | None, marks: set[int]) -> _Lines | None:
    def kept(line: Iterable[Envelope]) -> _Line:
        return deque(envelope for envelope in line if id(envelope) not in marks)

    if lines is None:
        return None
    high, normal, low = map(kept, lines)
    return (high, normal, low) if high or normal or low else None


def _shown(envelope: Envelope) -> WaitingMessage:
    e = envelope
    priority = Priority(e.priority).name.lower()
    return WaitingMessage(e.id, e.sender, priority, preview(e.body), e.deadline_at, e.not_before)
