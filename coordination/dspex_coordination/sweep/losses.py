"""What to do about a unit that was lost to infrastructure. Pure.

| what is known of the unit                                          | verdict                                         |
|--------------------------------------------------------------------|-------------------------------------------------|
| lost n times, another n times too, and nothing was done meanwhile  | it is everything: `down`                        |
| not lost often                                                     | `retry`, with another worker                    |
| several rows, lost often                                           | `split` into single rows                        |
| one row, lost more often than chance explains                      | it is the row: `isolate` it                     |
| the same, but nothing was done since it was lost before            | `retry`; after 2 n times as if it were the row  |

*Often* is with n different workers, or 2 n times where there are not so many. *Chance*: if a share p of all other
units is lost, p to the power of the row's losses is not below 1e-5. So a row is not given up because many are lost here
and there. A unit is told by its rows, whatever the trial: what kills its worker does so for every candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["retry", "split", "isolate", "down"]
Rows = tuple[str, tuple[int, ...]]
_CHANCE = 1e-5
_MOST = 4  # times n: then chance is no excuse any more


@dataclass(slots=True)
class _Tally:
    """Losses of some rows: with whom, how often, and how many units had been done when they were last lost."""

    done_before: int = 0
    workers: set[str] = field(default_factory=set)
    times: int = 0


class Losses:
    """Remembers losses until the rows are done; `lost_by` is n of the table."""

    def __init__(self, lost_by: int) -> None:
        self._n = lost_by
        self._tallies: dict[Rows, _Tally] = {}
        self._since_done: Counter[Rows] = Counter()
        self._done = self._lost = 0

    def done(self, split: str, rows: Sequence[int]) -> None:
        """Note that some rows were done: infrastructure works, and the rows do no harm."""
        self._done += 1
        self._since_done.clear()
        self._tallies.pop((split, tuple(rows)), None)

    def lost(self, split: str, rows: Sequence[int], worker: str) -> Verdict:
        """Note a loss and return what to do about it."""
        key = (split, tuple(rows))
        tally = self._tallies.setdefault(key, _Tally())
        is_alone = tally.done_before == self._done
        tally.workers.add(worker)
        tally.times, tally.done_before = tally.times + 1, self._done
        self._since_done[key] += 1
        self._lost += 1
        if is_alone and self._since_done[key] >= self._n and self._others_are_lost(key):
            return "down"
        if not self._is_often(tally):
            return "retry"
        if len(rows) > 1:
            self._lost -= tally.times  # they say nothing of single rows
            return "split"
        if not self._is_strange(key, tally) or (is_alone and tally.times < 2 * self._n):
            return "retry"
        self._lost -= tally.times  # nor these of others
        return "isolate"

    def workers(self, split: str, rows: Sequence[int]) -> frozenset[str]:
        """Return the workers with which these rows were lost."""
        tally = self._tallies.get((split, tuple(rows)))
        return frozenset() if tally is None else frozenset(tally.workers)

    def _is_often(self, tally: _Tally) -> bool:
        return len(tally.workers) >= self._n or tally.times >= 2 * self._n

    def _is_strange(self, key: Rows, tally: _Tally) -> bool:
        """Say whether so many losses are no chance."""
        others = self._lost - sum(t.times for rows, t in self._tallies.items() if _overlap(rows, key))
        share = others / max(1, others + self._done)
        return bool(share**tally.times < _CHANCE) or tally.times >= _MOST * self._n

    def _others_are_lost(self, key: Rows) -> bool:
        """Say whether other rows were lost n times since anything was done."""
        return any(times >= self._n and not _overlap(rows, key) for rows, times in self._since_done.items())


def _overlap(one: Rows, other: Rows) -> bool:
    return one[0] == other[0] and bool({*one[1]} & {*other[1]})
