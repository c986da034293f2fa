"""Units that are with workers: which copies of them are out, and which take so long that a second one is due. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from dspex_coordination.sweep.settings import Hedging
from dspex_coordination.sweep.units import Unit

_REMEMBERED = 256
_DOUBLES = 2  # second copies of one flight: when they are lost too, more would not help


@dataclass(frozen=True, slots=True)
class Flight:
    """One copy of a unit that is with a worker, or on the way, since `started`. `twin` is the copy it competes with."""

    id: str
    unit: Unit
    started: float
    twin: str | None = None


class Flights:
    """What is in the air. A unit is settled by the first answer; a copy that comes later is of no use."""

    def __init__(self, hedging: Hedging | None) -> None:
        self._hedging = hedging
        self._out: dict[str, Flight] = {}
        self._copies: Counter[str] = Counter()
        self._settled: set[str] = set()
        self._launched: Counter[str] = Counter()
        self._doubles: Counter[str] = Counter()
        self._paces: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def needed(self) -> int:
        """How many units are out whose answer is awaited."""
        return len(self._copies) - len(self._settled)

    def launch(self, unit: Unit, now: float, twin: str | None = None) -> Flight:
        """Send a unit off; each time it has an id of its own."""
        count = self._launched[unit.id]
        self._launched[unit.id] += 1
        flight = Flight(unit.id if not count else f"{unit.id}#{count}", unit, now, twin)
        self._out[flight.id] = flight
        self._copies[unit.id] += 1
        if twin is not None:
            self._doubles[twin] += 1
        return flight

    def land(self, flight_id: str) -> Flight | None:
        """Return what has come back; None if it is not out: it has come before."""
        self._doubles.pop(flight_id, None)
        return self._out.pop(flight_id, None)

    def settle(self, flight: Flight, *, answered: bool) -> bool:
        """Count a flight as ended; say whether its unit is still undecided: it is the first answer, or all are lost."""
        key = flight.unit.id
        is_late = key in self._settled
        self._copies[key] -= 1
        if self._copies[key]:
            if answered:
                self._settled.add(key)
            return answered and not is_late
        del self._copies[key]
        self._settled.discard(key)
        if answered or is_late:
            del self._launched[key]
        return not is_late

    def note_pace(self, duration_s: float, rows: int) -> None:
        """Remember how long a unit took, in seconds."""
        self._paces.append(duration_s / rows)

    def stragglers(self, now: float, most: int) -> list[Flight]:
        """Return flights that a second copy is due for, the longest first."""
        hedging = self._hedging
        if hedging is None or most < 1 or len(self._paces) < hedging.sample:
            return []
        pace = sorted(self._paces)[min(len(self._paces) - 1, int(hedging.quantile * len(self._paces)))]
        late = [
            flight
            for flight in self._out.values()
            if self._copies[flight.unit.id] == 1
            and flight.unit.id not in self._settled
            and self._doubles[flight.id] < _DOUBLES
            and now - flight.started > max(hedging.floor_s, hedging.factor * pace * len(flight.unit.rows))
        ]
        return sorted(late, key=lambda flight: flight.started)[:most]

    def clear(self) -> None:
        """Forget all that is out."""
        self._out.clear()
        self._copies.clear()
        self._settled.clear()
