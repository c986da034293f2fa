"""One unit of work through timeout, circuit breaker and retries: the settings, and the guard that applies them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, TypeVar

from dspex_agents.agent import AgentExit
from dspex_agents.clock import Clock
from dspex_agents.errors import SpecError
from dspex_agents.services.breaker import (
    BreakerOpen,
    BreakerOpenError,
    Breakers,
    BreakerSettings,
    CircuitBreaker,
    Permit,
)
from dspex_agents.services.retry_policy import RetryBudget, RetryPolicies

_T = TypeVar("_T")
Sleep: TypeAlias = Callable[[float], Awaitable[None]]
_Ticket: TypeAlias = tuple[CircuitBreaker, Permit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """What a task agent does about failures. Everything is off unless asked for.

    `attempt_timeout_s` bounds each try (one that takes longer fails with TimeoutError); `auto_pause_after` failures in
    a row the agent pauses itself; the last `dead_letters` failed payloads are kept; `seed` is that of the jitter.
    """

    breaker: BreakerSettings | None = None
    retries: RetryPolicies | None = None
    attempt_timeout_s: float | None = None
    auto_pause_after: int | None = None
    dead_letters: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.attempt_timeout_s is not None and not self.attempt_timeout_s > 0:
            raise SpecError(f"resilience.attempt_timeout_s must be positive seconds, got {self.attempt_timeout_s}.")
        if self.auto_pause_after is not None and self.auto_pause_after < 1:
            raise SpecError(f"resilience.auto_pause_after must be at least 1, got {self.auto_pause_after}.")
        if self.dead_letters < 0:
            raise SpecError(f"resilience.dead_letters must not be negative, got {self.dead_letters}.")


class Guard:
    """Applies the settings to calls, any number of them at once: no call waits for another."""

    def __init__(self, resilience: Resilience, clock: Clock, rng: random.Random, sleep: Sleep = asyncio.sleep) -> None:
        self._clock, self._rng, self._sleep = clock, rng, sleep
        self._timeout_s, self._retries = resilience.attempt_timeout_s, resilience.retries
        self.breakers = Breakers(resilience.breaker) if resilience.breaker else None
        self.budget = RetryBudget(resilience.retries.budget) if resilience.retries else None
        self._off = self.breakers is None and self.budget is None and self._timeout_s is None
        self.retried = 0

    async def run(self, kind: str, attempt: Callable[[int], Awaitable[_T]]) -> _T:
        """Return the result of `attempt(number)`, called for number 1, 2, ... as the retry policies allow.

        Raises BreakerOpenError when no attempt was made; otherwise what the last attempt raised.
        """
        if self._off:
            return await attempt(1)
        began = self._clock.monotonic()
        number, failure = 1, None
        while True:
            ticket = self._admit(kind, failure)
            try:
                with _reported(ticket, self._clock):
                    result = await self._bounded(attempt(number)) if self._timeout_s else await attempt(number)
            except AgentExit:
                raise
            except Exception as error:
                delay_s = self._delay_s(number, began, error)
                if delay_s is None:
                    raise
                failure = error
            else:
                if self.budget is not None:
                    self.budget.success(self._clock.monotonic())
                return result
            number += 1
            self.retried += 1
            await self._sleep(delay_s)

    def status(self) -> dict[str, Any]:
        """Return the state of what is switched on, as JSON values."""
        now = self._clock.monotonic()
        shown: dict[str, Any] = {}
        if self.breakers is not None:
            shown["breakers"] = {kind: asdict(status) for kind, status in self.breakers.status(now).items()}
        if self.budget is not None:
            balance = round(self.budget.balance(now), 2)
            shown["retries"] = {"made": self.retried, "denied": self.budget.denied, "budget": balance}
        return shown

    def _admit(self, kind: str, failure: Exception | None) -> _Ticket | None:
        """Return leave for one attempt. Where the breaker gives none, raise what failed before, or that it is open."""
        if self.breakers is None:
            return None
        now = self._clock.monotonic()
        breaker = self.breakers.of(kind, now)
        permit = breaker.allow(now)
        if isinstance(permit, BreakerOpen):
            raise failure or BreakerOpenError(kind, permit.retry_after_s)
        return breaker, permit

    async def _bounded(self, attempt: Awaitable[_T]) -> _T:
        async with asyncio.timeout(self._timeout_s):
            return await attempt

    def _delay_s(self, retry: int, began: float, error: Exception) -> float | None:
        """Return the wait before this retry, paid from the budget, or None when there is to be none."""
        policy = self._retries.policy_for(error) if self._retries else None
        if policy is None or self.budget is None:
            return None
        now = self._clock.monotonic()
        at_least_s = float(getattr(error, "retry_after_s", None) or 0.0)
        delay_s = policy.next_delay_s(retry, now - began, self._rng, at_least_s=at_least_s)
        return delay_s if delay_s is not None and self.budget.withdraw(now) else None


@contextmanager
def _reported(ticket: _Ticket | None, clock: Clock) -> Iterator[None]:
    """Report the outcome of the block to the breaker that gave leave."""
    if ticket is None:
        yield
        return
    breaker, permit = ticket
    try:
        yield
    except AgentExit:
        breaker.release(permit)
        raise
    except Exception:
        breaker.failure(permit, clock.monotonic())
        raise
    except BaseException:  # cancelled: says nothing of what was called
        breaker.release(permit)
        raise
    else:
        breaker.success(permit, clock.monotonic())
