"""What to do about a unit that was lost to infrastructure. Pure.

| what is known of the unit                                          | verdict                                         |
|--------------------------------------------------------------------|-------------------------------------------------|
| lost when it was out alone, and one of other rows before it        | it is everything: `down`                        |
| not lost often                                                     | `retry`, with another worker                    |
| several rows, lost often                                           | `split` into single rows                        |
| one row, lost more often than chance explains                      | it is the row: `isolate` it                     |
| the same, but nothing was done since it was lost before            | `retry`; after 2 n times as if it were the row  |

*Often* is with n different workers, or 2 n times where there are not so many. *Chance*: if a share p of all other
units is lost, p to the power of the row's losses is not below 1e-5. So a row is not given up because many are lost here
and there, or because a node went with all that it held; losses of the same rows in other trials are no such others.

A row that kills its worker takes the units beside it along. So of the *suspects*, which one more loss may decide on,
only one is out at a time; and in *trouble*, when several are suspect and nothing was done since, it is out alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from dspex_coordination.sweep.units import Unit

Verdict = Literal["retry", "split", "isolate", "down"]
_CHANCE = 1e-5
_MOST = 4  # times n: then chance is no excuse any more


@dataclass(slots=True)
class _Tally:
    """Losses of a unit: with whom, how often, and how many units had been done when it was last lost."""

    unit: Unit
    done_before: int = 0
    workers: set[str] = field(default_factory=set)
    times: int = 0


class Losses:
    """Remembers the losses of a unit until it is done; `lost_by` is n of the table."""

    def __init__(self, lost_by: int) -> None:
        self._n = lost_by
        self._tallies: dict[str, _Tally] = {}
        self._since_done: Counter[str] = Counter()
        self._lost_alone: list[Unit] = []
        self._done = self._lost = 0

    def done(self, unit: Unit) -> None:
        """Note that a unit was done: infrastructure works, and its rows do no harm."""
        self._done += 1
        self._since_done.clear()
        self._lost_alone.clear()
        self._tallies.pop(unit.id, None)

    def lost(self, unit: Unit, worker: str, *, alone: bool = False) -> Verdict:
        """Note a loss and return what to do about it; `alone` when no other unit was out."""
        tally = self._tallies.setdefault(unit.id, _Tally(unit))
        is_still = tally.done_before == self._done
        tally.workers.add(worker)
        tally.times, tally.done_before = tally.times + 1, self._done
        self._since_done[unit.id] += 1
        self._lost += 1
        if alone:
            self._lost_alone.append(unit)
            if any(not _overlap(other, unit) for other in self._lost_alone):
                return "down"
        if not self._is_often(tally):
            return "retry"
        if len(unit.rows) > 1:
            self._lost -= tally.times  # they say nothing of single rows
            return "split"
        if not self._is_strange(tally) or (is_still and tally.times < 2 * self._n):
            return "retry"
        return "isolate"

    @property
    def is_trouble(self) -> bool:
        """Whether several units are suspect and nothing was done since they were lost."""
        return sum(times >= self._suspicion for times in self._since_done.values()) > 1

    def is_suspect(self, unit: Unit) -> bool:
        """Say whether one more loss may decide on a unit."""
        tally = self._tallies.get(unit.id)
        return tally is not None and tally.times >= self._suspicion

    @property
    def _suspicion(self) -> int:
        return max(1, self._n - 1)

    def workers(self, unit: Unit) -> frozenset[str]:
        """Return the workers with which a unit was lost."""
        tally = self._tallies.get(unit.id)
        return frozenset() if tally is None else frozenset(tally.workers)

    def _is_often(self, tally: _Tally) -> bool:
        return len(tally.workers) >= self._n or tally.times >= 2 * self._n

    def _is_strange(self, tally: _Tally) -> bool:
        """Say whether so many losses are no chance."""
        others = self._lost - sum(t.times for t in self._tallies.values() if _overlap(t.unit, tally.unit))
        share = others / max(1, others + self._done)
        return bool(share**tally.times < _CHANCE) or tally.times >= _MOST * self._n


def _overlap(one: Unit, other: Unit) -> bool:
    return one.split == other.split and bool({*one.rows} & {*other.rows})
