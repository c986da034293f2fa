"""`Meter`: what one key or tenant takes of its limits at one gate. Pure: whoever calls says what time it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from dspex_ray.access.limits import Limits

DAY_S: Final = 86_400
CONCURRENCY_RETRY_S: Final = 1.0
"""When a place may be free again is not known; clients that come back together are told the same second anyway."""
_TOLERANCE: Final = 1e-9

Kind = Literal["rate", "concurrency", "money", "unpriced"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which limit has no room. `retry_after_s` is None where only the next day brings some."""

    kind: Kind
    limits: Limits
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent of the money of a `key` or `tenant` in the UTC day `day`, counted from the epoch."""

    of: Literal["key", "tenant"]
    name: str
    day: int
    usd: float


class Meter:
    """A token bucket, a count of requests under way, and the money of a UTC day.

    The bucket is full at first and gains `requests_per_second` tokens a second up to `most_at_once`; a request takes
    one. Money is known when a request ends, so that a cap is passed by at most what is under way. A request whose cost
    is not known could have cost anything: under a cap on money the rest of the day is refused, as budgets do.

    One of `replicas` gates that share the limits lets through its part: at least one request at once each.
    """

    __slots__ = ("_at", "_day", "_elsewhere", "_here", "_replicas", "_tokens", "_under_way", "_unpriced", "limits")

    def __init__(self, limits: Limits, at: float, replicas: int = 1) -> None:
        """`at` is in seconds that never go back, as in `refusal` and `enter`."""
        self.limits, self._replicas = limits, replicas
        self._tokens, self._at = self._most_tokens(), at
        self._under_way = 0
        self._day, self._here, self._elsewhere, self._unpriced = 0, 0.0, 0.0, False

    def change(self, limits: Limits, replicas: int) -> None:
        """Go by other limits from now on; what is taken stays taken."""
        self.limits, self._replicas = limits, replicas
        self._tokens = min(self._tokens, self._most_tokens())

    def refusal(self, at: float, day: int) -> Refusal | None:
        """Return which limit has no room for a request, None if all have; takes nothing."""
        limits = self.limits
        if limits.usd_per_day is not None:
            self._turn(day)
            if self._unpriced:
                return Refusal("unpriced", limits)
            if self._here + self._elsewhere >= limits.usd_per_day - _TOLERANCE:
                return Refusal("money", limits)
        most = limits.concurrent_requests
        if most is not None and self._under_way >= math.ceil(most / self._replicas):
            return Refusal("concurrency", limits, CONCURRENCY_RETRY_S)
        if limits.requests_per_second is not None:
            rate = limits.requests_per_second / self._replicas
            self._fill(at, rate)
            if self._tokens < 1.0 - _TOLERANCE:
                return Refusal("rate", limits, (1.0 - self._tokens) / rate)
        return None

    def enter(self) -> None:
        """Take what a request takes. Called right after `refusal` found room."""
        self._under_way += 1
        if self.limits.requests_per_second is not None:
            self._tokens -= 1.0

    def leave(self, cost_usd: float | None, day: int) -> None:
        """Give back the place of a request and count its money."""
        self._under_way -= 1
        self._turn(day)
        if cost_usd is None or not cost_usd >= 0:  # not a number, too
            self._unpriced = True
        else:
            self._here += cost_usd

    def hear(self, day: int, usd: float) -> None:
        """Count what other gates, or this one before a restart, spent in a day; replaces what was heard before."""
        self._turn(day)
        if day == self._day:
            self._elsewhere = usd

    @property
    def spent_here(self) -> tuple[int, float]:
        """The day of the last request and what was spent in it, US dollars."""
        return self._day, self._here

    @property
    def under_way(self) -> int:
        """How many requests are under way."""
        return self._under_way

    def _turn(self, day: int) -> None:
        if day > self._day:
            self._day, self._here, self._elsewhere, self._unpriced = day, 0.0, 0.0, False

    def _fill(self, at: float, rate: float) -> None:
        if at > self._at:
            self._tokens = min(self._most_tokens(), self._tokens + (at - self._at) * rate)
            self._at = at

    def _most_tokens(self) -> float:
        return max(1.0, self.limits.most_at_once / self._replicas)
