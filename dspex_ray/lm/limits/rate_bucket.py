"""A bucket of requests or tokens that holds a cap in every window of a minute, and may owe."""

from __future__ import annotations

from typing import Final

_WINDOW_S: Final = 60.0
_BURST_SHARE: Final = 0.05


class RateBucket:
    """Lets `per_minute` units pass in any 60 s, of which a twentieth at once.

    Units handed out may be used up to `held_s` later, and given back unused up to twice that: what is given back late
    would pass a second time. So the pace is that at which the burst, and the refill of a window and three times
    `held_s`, are the cap. `reserve` hands out units that are not there yet, with the wait until they are: who comes
    first is served first, and nobody asks twice. Pure: times are passed in.
    """

    def __init__(self, per_minute: int, held_s: float, now: float) -> None:
        self.burst = min(max(1.0, per_minute * _BURST_SHARE), per_minute / 2)
        self._per_s = (per_minute - self.burst) / (_WINDOW_S + 3 * held_s)
        self._units, self._at = self.burst, now

    def available(self, now: float) -> float:
        """Return the units there are; what is owed is negative."""
        self._refill(now)
        return self._units

    def wait_s(self, amount: float, now: float) -> float:
        """Return how long `amount` units would have to wait: until they are there, or the bucket is full."""
        self._refill(now)
        return max(0.0, (min(amount, self.burst) - self._units) / self._per_s)

    def reserve(self, amount: float, now: float) -> float:
        """Take `amount` units and return the seconds until they may be used."""
        wait_s = self.wait_s(amount, now)
        self._units -= amount
        return wait_s

    def give_back(self, amount: float, now: float) -> None:
        """Take unused units back; a negative amount was used beyond what had been taken."""
        self._refill(now)
        self._units = min(self.burst, self._units + amount)

    def _refill(self, now: float) -> None:
        if now > self._at:
            self._units = min(self.burst, self._units + (now - self._at) * self._per_s)
            self._at = now
