"""A rate limiter: one token bucket for each identifier, a bounded number of them, time passed in."""

from __future__ import annotations

from dataclasses import dataclass

from dspex_agents.errors import MessageError, SpecError

_ROUNDING = 1e-6  # tokens: a caller that waits exactly as long as it was told must not fail by a rounding error


class RateLimitedError(MessageError):
    """Too fast: nothing was done; ask again after `retry_after_s` seconds."""

    retryable = True

    def __init__(self, message: str, identifier: str, retry_after_s: float) -> None:
        super().__init__(message, identifier, retry_after_s)
        self.message, self.identifier, self.retry_after_s = message, identifier, retry_after_s

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class RateStatus:
    """What is left of a limit: whole units `remaining` now, all of them again in `reset_s` seconds."""

    limit: int
    remaining: int
    reset_s: float


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimiter:
    """Lets each identifier do `limit` units in `window_s` seconds, `burst` (by default `limit`) of them at once.

    In any `t` seconds at most `burst + t * limit / window_s` units pass. Only buckets that are not full are kept, at
    most `most_identifiers`; while so many are busy a new identifier is refused, because forgetting a busy one would
    let it through anew.
    """

    def __init__(
        self, limit: int = 1000, window_s: float = 60.0, *, burst: int | None = None, most_identifiers: int = 10_000
    ) -> None:
        self.limit, self.window_s, self.burst = limit, window_s, limit if burst is None else burst
        self.most_identifiers = most_identifiers
        for name in ("limit", "burst", "most_identifiers"):
            if getattr(self, name) < 1:
                raise SpecError(f"rate limiter: {name} must be at least 1, got {getattr(self, name)}.")
        if not window_s > 0:
            raise SpecError(f"rate limiter: window_s must be a positive number of seconds, got {window_s}.")
        self._per_s = limit / window_s
        self._buckets: dict[str, _Bucket] = {}
        self._no_room_until = 0.0

    def __len__(self) -> int:
        return len(self._buckets)

    def acquire(self, identifier: str, now: float, amount: int = 1) -> None:
        """Take `amount` units. Raises RateLimitedError, or SpecError for an amount that can never pass."""
        if not 1 <= amount <= self.burst:
            raise SpecError(f"rate limiter: amount must be from 1 to the burst of {self.burst}, got {amount}.")
        bucket = self._bucket(identifier, now)
        missing = amount - bucket.tokens
        if missing > _ROUNDING:
            wait_s = missing / self._per_s
            text = f"{identifier!r} is over its limit of {self.limit} in {self.window_s:g} s; again in {wait_s:.3g} s."
            raise RateLimitedError(text, identifier, wait_s)
        bucket.tokens -= amount

    def status(self, identifier: str, now: float) -> RateStatus:
        """Return what is left for the identifier; asking costs nothing."""
        bucket = self._buckets.get(identifier)
        tokens = float(self.burst) if bucket is None else self._tokens(bucket, now)
        return RateStatus(self.limit, max(0, int(tokens + _ROUNDING)), max(0.0, (self.burst - tokens) / self._per_s))

    def _bucket(self, identifier: str, now: float) -> _Bucket:
        bucket = self._buckets.get(identifier)
        if bucket is None:
            if len(self._buckets) >= self.most_identifiers:
                self._make_room(identifier, now)
            bucket = self._buckets[identifier] = _Bucket(float(self.burst), now)
        bucket.tokens, bucket.at = self._tokens(bucket, now), max(bucket.at, now)
        return bucket

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(float(self.burst), bucket.tokens + max(0.0, now - bucket.at) * self._per_s)

    def _make_room(self, newcomer: str, now: float) -> None:
        """Forget every bucket that is full again. A scan that found none says when the next can find one."""
        if now >= self._no_room_until:
            full_at = {name: b.at + (self.burst - b.tokens) / self._per_s for name, b in self._buckets.items()}
            for name in [name for name, at in full_at.items() if at <= now]:
                del self._buckets[name]
            if len(self._buckets) < self.most_identifiers:
                return
            self._no_room_until = min(full_at.values())
        wait_s = self._no_room_until - now
        text = f"{self.most_identifiers} identifiers are busy, no room for {newcomer!r}; again in {wait_s:.3g} s."
        raise RateLimitedError(text, newcomer, wait_s)
