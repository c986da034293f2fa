"""Calls to named services, each behind a circuit breaker, with a time limit and, where there is one, a fallback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, TypeVar

from dspex_agents.agent import AgentExit
from dspex_agents.clock import Clock
from dspex_agents.errors import SpecError
from dspex_agents.services.breaker import (
    BreakerOpen,
    BreakerOpenError,
    Breakers,
    BreakerSettings,
    BreakerStatus,
    CircuitBreaker,
    Permit,
)

_T = TypeVar("_T")


class _NoFallback(Enum):
    RAISE = "raise"


_RAISE: Final = _NoFallback.RAISE


class ProtectedCalls:
    """Makes calls for any agent, any number of them at once: the breaker decides before and after, never around them.

    What a call raises, a call cut off included, counts as a failure of its service.
    """

    def __init__(self, clock: Clock, settings: BreakerSettings | None = None, *, timeout_s: float = 60.0) -> None:
        """`timeout_s` bounds each call. Raises SpecError."""
        if not timeout_s > 0:
            raise SpecError(f"protected calls: timeout_s must be a positive number of seconds, got {timeout_s}.")
        self._clock, self._timeout_s = clock, timeout_s
        self._breakers = Breakers(settings)

    async def run(self, service: str, call: Callable[[], Awaitable[_T]], *, fallback: _T | _NoFallback = _RAISE) -> _T:
        """Return the result of `call()`, or `fallback` where one is given and the service fails or may not be called.

        Without it, raises BreakerOpenError, TimeoutError, or what the call raised.
        """
        try:
            breaker, permit = self._admit(service)
            return await self._reported(breaker, permit, call)
        except AgentExit:
            raise
        except Exception:
            if isinstance(fallback, _NoFallback):
                raise
            return fallback

    def reset(self, service: str | None = None) -> tuple[str, ...]:
        """Close the breaker of this service, or all, by hand; return which. Raises SpecError for one never called."""
        closed = self._breakers.reset(service)
        if service is not None and not closed:
            known = ", ".join(self._breakers.status(self._clock.monotonic())) or "none"
            raise SpecError(f"No service {service!r} was called so far. Known: {known}.")
        return closed

    def status(self) -> dict[str, BreakerStatus]:
        """Return the breaker of every service called so far."""
        return self._breakers.status(self._clock.monotonic())

    def _admit(self, service: str) -> tuple[CircuitBreaker, Permit]:
        now = self._clock.monotonic()
        breaker = self._breakers.of(service, now)
        permit = breaker.allow(now)
        if isinstance(permit, BreakerOpen):
            raise BreakerOpenError(service, permit.retry_after_s)
        return breaker, permit

    async def _reported(self, breaker: CircuitBreaker, permit: Permit, call: Callable[[], Awaitable[_T]]) -> _T:
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await call()
        except AgentExit:
            breaker.release(permit)
            raise
        except Exception:
            breaker.failure(permit, self._clock.monotonic())
            raise
        except BaseException:  # cancelled: says nothing of the service
            breaker.release(permit)
            raise
        breaker.success(permit, self._clock.monotonic())
        return result
