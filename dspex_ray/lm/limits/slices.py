"""Slices of a model's limits, lent to processes: who gets how much, and what comes back.

| lent             | used            | comes back                                                              |
|------------------|-----------------|-------------------------------------------------------------------------|
| requests, tokens | within `HELD_S` | told as unused within twice that; those of a dead process with time     |
| places           | while renewed   | when wanted no more; those of a dead process after `PLACES_S`           |

A place is leave to have one call open. When holders want more places than there are, each gets an equal part; where
there are fewer places than holders, they take turns of `TURN_S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from dspex_ray.lm.limits.rate_bucket import RateBucket
from dspex_ray.lm.limits.settings import LMLimits

HELD_S: Final = 1.0
"""Seconds for which lent requests and tokens may be used."""
PLACES_S: Final = 15.0
"""Seconds after which places that are not renewed are lent to others."""
TURN_S: Final = 1.0
"""Seconds for which a holder has a place where there are fewer places than holders that want one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSlice:
    """Lend `holder` (one client in one process) a slice of the limits of `model`; answered with a `Slice`.

    It needs `requests` and `tokens`, and would take up to `ahead` times as much; it waits for them at most
    `patience_s`. `unused_requests` and `unused_tokens` come back: of a slice lent less than 2 * HELD_S ago, of calls
    given up while they waited, and what calls took less than was set aside for them (below 0: what they took more).
    It wants `places` in all (None: this is not about places), and `in_use` hold open calls.
    """

    model: str
    limits: LMLimits
    holder: str
    requests: int = 0
    tokens: int = 0
    ahead: int = 1
    patience_s: float = math.inf
    unused_requests: int = 0
    unused_tokens: int = 0
    places: int | None = None
    in_use: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What is lent: `requests` and `tokens` to be used after `wait_s`, within HELD_S; and `places` in all.

    Nothing is lent when the wait is beyond the patience; `wait_s` says how long it would be. Fewer places than are in
    use: no call begins until so many have ended.
    """

    requests: int = 0
    tokens: int = 0
    wait_s: float = 0.0
    places: int = 0


@dataclass(slots=True)
class _Holder:
    until: float
    lent: int = 0
    places: int = 0  # lent, or in use still
    wanted: int = 0
    turn_at: float = -math.inf  # when its last turn began or ended

    def is_short(self, now: float) -> bool:
        """Whether it wants more than it has, and asked of late (it may have died)."""
        return self.wanted > self.lent and self.until - PLACES_S >= now - TURN_S


class SliceBook:
    """The slices of one model. Pure: times are passed in.

    In any 60 s at most a limit's units pass, and at most `concurrency` calls are open, as long as holders keep to
    their slices. A book that was lost begins anew and takes up the places that holders say are in use.
    """

    def __init__(self, limits: LMLimits, now: float) -> None:
        self.limits, self.asked = limits, 0
        self._requests = _bucket(limits.requests_per_minute, now)
        self._tokens = _bucket(limits.tokens_per_minute, now)
        self._holders: dict[str, _Holder] = {}

    def take(self, ask: TakeSlice, now: float) -> Slice:
        """Lend a slice. Units not there yet are lent with the wait until they are: first come, first served."""
        self.asked += 1
        self.expire(now)
        self._give_back(ask, now)
        places = self._places(ask, now)
        needs = [(self._requests, ask.requests), (self._tokens, ask.tokens)]
        wait_s = max((bucket.wait_s(need, now) for bucket, need in needs if bucket and need), default=0.0)
        if wait_s > ask.patience_s:
            return Slice(wait_s=wait_s, places=places)
        lent = [self._lend(bucket, need, 1 if wait_s else ask.ahead, now) for bucket, need in needs]
        return Slice(requests=lent[0], tokens=lent[1], wait_s=wait_s, places=places)

    def expire(self, now: float) -> tuple[str, ...]:
        """Take back the places of holders that did not renew them; return who they were."""
        gone = tuple(name for name, holder in self._holders.items() if holder.until <= now)
        for name in gone:
            del self._holders[name]
        return gone

    def places_out(self) -> dict[str, int]:
        """Return how many places each holder has."""
        return {name: holder.places for name, holder in self._holders.items() if holder.places}

    def _give_back(self, ask: TakeSlice, now: float) -> None:
        for bucket, unused in ((self._requests, ask.unused_requests), (self._tokens, ask.unused_tokens)):
            if bucket is not None and unused:
                bucket.give_back(unused, now)

    def _lend(self, bucket: RateBucket | None, need: int, ahead: int, now: float) -> int:
        """Reserve what is needed, and ahead of need no more than this holder's part of what is there."""
        if bucket is None or not need:
            return 0
        part = int(bucket.available(now)) // max(1, len(self._holders))
        amount = max(need, min(need * ahead, part))
        bucket.reserve(amount, now)
        return amount

    def _places(self, ask: TakeSlice, now: float) -> int:
        """Set the holder's places: what it wants, if that is free; above an equal part only what nobody else wants."""
        holder = self._holders.setdefault(ask.holder, _Holder(now + PLACES_S))
        holder.until = now + PLACES_S
        if ask.places is None:
            return holder.lent
        holder.wanted = ask.places
        holder.lent = (
            ask.places if self.limits.concurrency is None else self._lent(holder, self.limits.concurrency, now)
        )
        holder.places = max(ask.in_use, holder.lent)
        return holder.lent

    def _lent(self, holder: _Holder, concurrency: int, now: float) -> int:
        others = [other for other in self._holders.values() if other is not holder]
        free = max(0, concurrency - sum(other.places for other in others))
        short = [other for other in others if other.is_short(now)]
        if not short:
            return min(holder.wanted, free)
        part = concurrency // sum(1 for one in self._holders.values() if one.wanted)
        return min(holder.wanted, free, part or self._turn(holder, short, free, now))

    @staticmethod
    def _turn(holder: _Holder, short: list[_Holder], free: int, now: float) -> int:
        """Return 1 while it is the holder's turn: those go first whose last one is longest ago."""
        waiting = [other for other in short if not other.lent]
        is_over = bool(waiting) and now - holder.turn_at >= TURN_S
        is_due = sum(other.turn_at < holder.turn_at for other in waiting) < free
        goes_on = not is_over if holder.lent else is_due
        if goes_on != bool(holder.lent):
            holder.turn_at = now
        return int(goes_on)


@dataclass(slots=True)
class SliceBooks:
    """One book for each model; a model whose limits are told anew begins a new book."""

    books: dict[str, SliceBook] = field(default_factory=dict)

    def take(self, ask: TakeSlice, now: float) -> Slice:
        """Lend a slice of the asked model."""
        book = self.books.get(ask.model)
        if book is None or book.limits != ask.limits:
            book = self.books[ask.model] = SliceBook(ask.limits, now)
        return book.take(ask, now)


def _bucket(per_minute: int | None, now: float) -> RateBucket | None:
    return None if per_minute is None else RateBucket(per_minute, HELD_S, now)
