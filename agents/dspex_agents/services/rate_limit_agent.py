"""`RateLimitAgent`: named rate limits that all agents of a system share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dspex_agents.agent import Agent
from dspex_agents.errors import SpecError
from dspex_agents.services.rate_limiter import RateLimitedError, RateLimiter, RateStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """`limit` units in `window_s` seconds for each identifier, `burst` (by default `limit`) of them at once."""

    limit: int = 1000
    window_s: float = 60.0
    burst: int | None = None
    most_identifiers: int = 10_000


@dataclass(frozen=True, slots=True)
class AcquireRate:
    """Take `amount` units of a limit; answered with the `RateStatus` after that.

    Answered with RateLimitedError, which says when to ask again, or with SpecError for an unknown limit and an amount
    that can never pass.
    """

    limit: str
    identifier: str
    amount: int = 1


@dataclass(frozen=True, slots=True)
class GetRateStatus:
    """Answer with the `RateStatus` of an identifier: asking costs nothing."""

    limit: str
    identifier: str


class RateLimitAgent(Agent):
    """Token buckets by name of the limit and identifier (a user, a key, an agent). Any agent or driver may ask.

    What was used is not kept: a new incarnation begins with full buckets, so that right after a restart up to a burst
    more may pass. Its messages are answered as control messages too.
    """

    capabilities = frozenset({"rate-limit"})

    def __init__(self, limits: Mapping[str, RateLimit]) -> None:
        """Raise SpecError for limits that are none."""
        self._limiters: dict[str, RateLimiter] = {}
        for name, limit in limits.items():
            try:
                self._limiters[name] = RateLimiter(**asdict(limit))
            except SpecError as error:
                raise SpecError(f"limit {name!r}: {error}") from None
        self._passed, self._refused = dict.fromkeys(limits, 0), dict.fromkeys(limits, 0)

    async def on_message(self, body: Any) -> RateStatus:
        """Answer AcquireRate and GetRateStatus."""
        return await self.on_control(body)

    async def on_control(self, body: Any) -> RateStatus:
        """Answer AcquireRate and GetRateStatus, however full the mailbox."""
        now = self.context.clock.monotonic()
        match body:
            case AcquireRate(limit, identifier, amount):
                limiter = self._limiter(limit)
                try:
                    limiter.acquire(identifier, now, amount)
                except RateLimitedError:
                    self._refused[limit] += 1
                    raise
                self._passed[limit] += 1
                return limiter.status(identifier, now)
            case GetRateStatus(limit, identifier):
                return self._limiter(limit).status(identifier, now)
            case _:
                raise NotImplementedError(f"RateLimitAgent takes no message of type {type(body).__name__}.")

    def details(self) -> Mapping[str, Any]:
        """Return each limit with the identifiers that are using it and how often it let pass or refused."""
        return {
            name: {
                "limit": limiter.limit,
                "window_s": limiter.window_s,
                "identifiers": len(limiter),
                "passed": self._passed[name],
                "refused": self._refused[name],
            }
            for name, limiter in self._limiters.items()
        }

    def _limiter(self, name: str) -> RateLimiter:
        if name not in self._limiters:
            raise SpecError(f"No rate limit {name!r}. Known: {', '.join(sorted(self._limiters)) or 'none'}.")
        return self._limiters[name]
