"""How many retries a client may make for the calls it makes: a server that fails is not asked many times as often."""

from __future__ import annotations

import math

from dspex_ray.errors import ConfigurationError


class RetryBudget:
    """At most `share` of the calls may be retried, and `reserve_per_s` retries a second in any case.

    A bucket of retries: each call puts `share` in, each retry takes one out, and what was put in is forgotten at the
    pace of `window_s` seconds; the reserve fills by time, to the amount of one window. Finagle's RetryBudget with its
    defaults (https://finagle.github.io/blog/2016/02/08/retry-budgets), its ring of windows replaced by exponential
    decay. Times are passed in, monotonic seconds; a copy in another process begins anew, for clocks differ there.
    """

    __slots__ = ("_at", "_deposits", "_reserve", "reserve_per_s", "share", "window_s")

    def __init__(self, share: float = 0.2, *, reserve_per_s: float = 10.0, window_s: float = 10.0) -> None:
        if not (0 <= share <= 10 and reserve_per_s >= 0 and window_s > 0):  # noqa: PLR2004 - ten retries a call: no limit
            got = f"got {share}, {reserve_per_s} and {window_s}"
            msg = f"a retry budget takes share 0 to 10, reserve_per_s from 0 and window_s above 0, {got}"
            raise ConfigurationError(msg)
        self.share, self.reserve_per_s, self.window_s = share, reserve_per_s, window_s
        self._deposits, self._reserve = 0.0, reserve_per_s * window_s
        self._at = -math.inf

    def call(self, now: float) -> None:
        """Note that a call begins."""
        self._pass_time(now)
        self._deposits += self.share

    def retry(self, now: float) -> bool:
        """Take one retry out; False when there is none."""
        self._pass_time(now)
        if self._deposits >= 1.0:
            self._deposits -= 1.0
            return True
        if self._deposits + self._reserve < 1.0:
            return False
        self._reserve -= 1.0 - self._deposits
        self._deposits = 0.0
        return True

    def __reduce__(self) -> tuple[object, ...]:
        return _budget, (self.share, self.reserve_per_s, self.window_s)

    def _pass_time(self, now: float) -> None:
        if now > self._at:
            elapsed_s = now - self._at
            self._deposits *= math.exp(-elapsed_s / self.window_s)
            most = self.reserve_per_s * self.window_s
            self._reserve = most if elapsed_s == math.inf else min(most, self._reserve + elapsed_s * self.reserve_per_s)
            self._at = now


def _budget(share: float, reserve_per_s: float, window_s: float) -> RetryBudget:
    return RetryBudget(share, reserve_per_s=reserve_per_s, window_s=window_s)
