"""How far a unit of work is: told by the worker from inside, read by anyone from outside while it runs."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from dataclasses import dataclass

from dspex_agents.clock import Clock
from dspex_agents.errors import AgentSystemError, MessageError
from dspex_agents.messaging.in_hand import in_hand


class ProgressError(AgentSystemError):
    """A report of progress that cannot be: a share outside 0 to 1, or no unit of work under way."""


class UnknownUnitError(MessageError):
    """No unit of work of this id is under way at the agent."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One unit under way. `share` done from 0 to 1 in attempt number `attempt`; times are seconds since the epoch.

    `id` is that of the message, or, where its deliverer names none, `unit-<n>`.
    """

    id: str
    kind: str
    share: float
    note: str
    attempt: int
    started_at: float
    updated_at: float


class Unit:
    """One unit under way, as its agent holds it."""

    __slots__ = ("_clock", "_message", "attempt", "id", "kind", "note", "share", "started_at", "updated_at")

    def __init__(self, id_: str, kind: str, clock: Clock) -> None:
        self.id, self.kind, self._clock = id_, kind, clock
        self._message = in_hand.get()
        self.share, self.note, self.attempt = 0.0, "", 0
        self.started_at = self.updated_at = clock.now()

    def begin_attempt(self, number: int) -> None:
        """Start (again) from nothing."""
        self.share, self.note, self.attempt = 0.0, "", number
        self.updated_at = self._clock.now()

    def report(self, share: float, note: str) -> None:
        """Take what the worker tells. Raises ProgressError for a share outside 0 to 1."""
        if not 0 <= share <= 1:  # also refuses NaN
            raise ProgressError(f"progress of {self.id!r}: share must be from 0 to 1, got {share!r}.")
        self.share, self.note, self.updated_at = share, note, self._clock.now()
        if self._message is not None:
            self._message.marked_at = self._clock.monotonic()

    def view(self) -> Progress:
        """Return the figures of this moment."""
        return Progress(self.id, self.kind, self.share, self.note, self.attempt, self.started_at, self.updated_at)


_unit: ContextVar[Unit | None] = ContextVar("dspex_unit", default=None)


def report_progress(share: float, note: str = "") -> None:
    """Tell how far the unit of work is: `share` from 0 to 1, and what is being done.

    Called inside `Worker.perform`, in the tasks it starts, and in threads started by `asyncio.to_thread`. Raises
    ProgressError anywhere else, and for a share that is none.
    """
    unit = _unit.get()
    if unit is None:
        raise ProgressError("report_progress was called outside a worker's perform: there is no unit to report on.")
    unit.report(share, note)


class _OnBoard:
    """The time a unit is on the board. A class, because a generator would cost as much as all the rest of a unit."""

    __slots__ = ("_token", "_unit", "_units")

    def __init__(self, units: dict[str, Unit], unit: Unit) -> None:
        self._units, self._unit = units, unit

    def __enter__(self) -> Unit:
        self._units[self._unit.id] = self._unit
        self._token = _unit.set(self._unit)
        return self._unit

    def __exit__(self, *_: object) -> None:
        _unit.reset(self._token)
        self._units.pop(self._unit.id, None)


class ProgressBoard:
    """The units under way at one agent: as many as it handles at once, none after its end."""

    def __init__(self) -> None:
        self._units: dict[str, Unit] = {}
        self._numbers = itertools.count(1)

    def unit(self, kind: str, clock: Clock) -> _OnBoard:
        """Put a unit on the board while the `with` block runs; `report_progress` inside reports on it."""
        message = in_hand.get()
        id_ = f"unit-{next(self._numbers)}" if message is None else message.envelope.id
        return _OnBoard(self._units, Unit(id_, kind, clock))

    def of(self, unit_id: str) -> Progress:
        """Return the progress of one unit. Raises UnknownUnitError naming those under way."""
        if unit_id not in self._units:
            running = ", ".join(self._units) or "none"
            raise UnknownUnitError(f"No unit of work {unit_id!r} is under way here. Under way: {running}.")
        return self._units[unit_id].view()

    def all(self) -> tuple[Progress, ...]:
        """Return every unit, the oldest first."""
        return tuple(unit.view() for unit in self._units.values())
