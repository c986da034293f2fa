"""`SpentTally`: what all gates spent of each limit on money, so that each knows what the others did. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from dspex_ray.access.meter import Spent

MOST_GATES: Final = 1_000
"""Gates whose own part is kept apart; the longest silent goes first, and what it spent stays counted."""

_Limit = tuple[Literal["key", "tenant"], str]


class SpentTally:
    """Takes the word of gates, by names that never come twice, and tells each what was spent elsewhere that UTC day.

    A gate that is gone stays counted: its money is spent. `before` is what records say of the day, as when the tally
    itself begins anew; gates that still run must not be in it.
    """

    def __init__(self, before: Iterable[Spent] = ()) -> None:
        self._day = 0
        self._by_gate: dict[str, dict[_Limit, float]] = {}
        self._total: dict[_Limit, float] = {}
        for one in before:
            if self._is_of_today(one):
                self._count((one.of, one.name), one.usd)

    def put(self, gate: str, spent: Iterable[Spent]) -> None:
        """Note all that a gate spent by now, in the place of what it said before; an earlier day's is passed over."""
        for one in spent:
            if self._is_of_today(one):
                own = self._by_gate.pop(gate, {})
                limit: _Limit = (one.of, one.name)
                self._count(limit, one.usd - own.get(limit, 0.0))
                self._by_gate[gate] = {**own, limit: one.usd}  # at the end: it spoke last
        while len(self._by_gate) > MOST_GATES:
            del self._by_gate[next(iter(self._by_gate))]

    def elsewhere(self, gate: str) -> list[Spent]:
        """Return what others spent of each limit that anyone spent of."""
        own = self._by_gate.get(gate, {})
        return [Spent(*limit, self._day, max(0.0, total - own.get(limit, 0.0))) for limit, total in self._total.items()]

    def _is_of_today(self, one: Spent) -> bool:
        if one.day > self._day:
            self._day, self._by_gate, self._total = one.day, {}, {}
        return one.day == self._day

    def _count(self, limit: _Limit, usd: float) -> None:
        self._total[limit] = self._total.get(limit, 0.0) + usd
