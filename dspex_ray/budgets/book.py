"""Slices of a budget, lent to processes: who may spend how much, what was spent, and what comes back.

| lent    | used           | comes back                                                                         |
|---------|----------------|------------------------------------------------------------------------------------|
| amounts | until returned | when the holder asks for less or ends; of a dead holder once its calls are known   |

A holder tells sums since it began, so an ask that is sent twice, or comes late, changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal

from dspex_ray.budgets.amounts import NOTHING, Amounts

_SHARE: Final = 2
"""Ahead of need goes at most one in so many parts of what is free: slices shrink towards the cap."""
SHORT_S: Final = 3.0
"""Seconds for which nothing is lent ahead after somebody did not get what it needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSlice:
    """Lend `holder` (one process) a slice of a budget; answered with a `Slice`.

    `spent` is what its calls have taken in this window, `reserved` the most its open ones may take. It needs `need` on
    top and would take up to `ahead` times as much; what it was lent beyond that comes back.
    """

    scope: str
    name: str
    window: float
    holder: str
    spent: Amounts = NOTHING
    reserved: Amounts = NOTHING
    need: Amounts = NOTHING
    ahead: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What a holder may spend in this window: `granted`, counted since it began.

    `verdict` is `lent` when the need is among it, `wait` when it would be if nothing that others were lent or reserved
    got spent, `refused` when it cannot be. `spent` and `out` tell of all holders: what is spent, and what is lent or
    reserved beyond that.
    """

    granted: Amounts
    verdict: Literal["lent", "wait", "refused"]
    spent: Amounts = NOTHING
    out: Amounts = NOTHING


@dataclass(slots=True)
class Lease:
    """What a holder was granted and has told as spent, since it began, and when it was last heard of."""

    granted: Amounts = NOTHING
    spent: Amounts = NOTHING
    heard_at: float = 0.0

    @property
    def counted(self) -> Amounts:
        """What counts against the budget: all that was granted, and what was spent beyond it."""
        return self.granted.most(self.spent)


@dataclass(slots=True)
class BudgetBook:
    """The slices of one budget in one window. Pure: times are passed in.

    As long as holders keep to their slices, what is spent is at most `limit`, but for calls that took more than the
    most that was expected of them. A lease ends when its holder is known to be dead and its calls are known; until then
    all of it counts as spent.
    """

    limit: Amounts
    settled: Amounts = NOTHING
    leases: dict[str, Lease] = field(default_factory=dict)
    short_at: float = -math.inf

    @property
    def spent(self) -> Amounts:
        """What all holders have told as spent, dead ones too."""
        return sum((lease.spent for lease in self.leases.values()), self.settled)

    @property
    def counted(self) -> Amounts:
        """What counts against the limit: what is spent and what is lent."""
        return sum((lease.counted for lease in self.leases.values()), self.settled)

    def take(self, ask: TakeSlice, now: float) -> Slice:
        """Lend a slice. Sets the holder's grant anew: what it holds, and what it needs if there is room."""
        lease = self.leases.setdefault(ask.holder, Lease())
        lease.spent, lease.heard_at = lease.spent.most(ask.spent), now
        held = lease.spent + ask.reserved
        lease.granted = held
        free = self.limit - self.counted
        if ask.need.fits(free):
            lease.granted = held + self._lent(ask, free, now)
            return self._slice(lease, "lent")
        self.short_at = now
        fits_at_last = ask.need.fits(self.limit - self.spent)
        return self._slice(lease, "wait" if fits_at_last else "refused")

    def settle(self, holder: str, spent: Amounts) -> None:
        """End the lease of a holder that is dead or has left, which spent so much in all."""
        lease = self.leases.pop(holder, Lease())
        self.settled = self.settled + spent.most(lease.spent)

    def _lent(self, ask: TakeSlice, free: Amounts, now: float) -> Amounts:
        """Return what is needed, and ahead of need no more than this holder's part of what is free."""
        if ask.need == NOTHING or now - self.short_at < SHORT_S:
            return ask.need
        part = free.over(_SHARE * len(self.leases))
        return ask.need.most(ask.need.times(ask.ahead).least(part))

    def _slice(self, lease: Lease, verdict: Literal["lent", "wait", "refused"]) -> Slice:
        spent = self.spent
        return Slice(granted=lease.granted, verdict=verdict, spent=spent, out=self.counted - spent)
