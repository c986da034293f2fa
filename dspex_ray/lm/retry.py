"""Retries of model calls: backoff with full jitter, Retry-After honoured, a budget, all within one deadline."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from dspex_agents.clock import Clock, SystemClock
from dspex_ray.errors import ConfigurationError, LMError, LMRateLimitError, LMTimeoutError
from dspex_ray.lm.retry_budget import RetryBudget

_T = TypeVar("_T")
_FIRST_S = 0.5
_LONGEST_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time and randomness, passed in: a test gives a sleep that counts and a seeded generator."""

    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a call is tried. `max_attempts` counts the first try; `budget` bounds the retries of all the calls.

    A retry after a 429, or after a time that the provider named (Retry-After), is not counted in the budget: there the
    provider sets the pace, and fewer calls are open at once (see `lm/limits`).
    """

    max_attempts: int = 4
    timing: Timing = field(default_factory=Timing)
    budget: RetryBudget = field(default_factory=RetryBudget)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            msg = f"max_attempts is {self.max_attempts}; at least one attempt is needed"
            raise ConfigurationError(msg)

    def wait_s(self, failures: int, error: LMError) -> float:
        """Return the seconds to wait after the given number of failures, the last one being `error`.

        Without Retry-After: a random part of 0.5 s doubled at each failure, at most 20 s ("full jitter", M. Brooker,
        "Exponential Backoff And Jitter", AWS 2015). With Retry-After: what it says and up to a tenth more, so that
        clients told the same time do not return at once together.
        """
        chance = self.timing.rng.random()
        if error.retry_after_s is not None:
            return error.retry_after_s + chance * max(error.retry_after_s, _FIRST_S) / 10
        return min(_LONGEST_S, _FIRST_S * 2.0 ** (failures - 1)) * chance

    async def run(
        self,
        attempt: Callable[[int], Awaitable[_T]],
        *,
        timeout_s: float,
        what: str,
        adapt: Callable[[LMError], bool] = lambda _: False,
    ) -> _T:
        """Run `attempt(number)` until it succeeds, and return its result.

        `attempt` raises LMError. A retryable one is tried again while attempts and time are left. When `adapt` returns
        True it has changed the request so that the same error will not come back: the next try follows at once and
        does not count as a failure. Raises the last LMError (its `attempts` set), or LMTimeoutError naming `what`
        when `timeout_s` has passed; a wait that would pass the deadline is not begun, nor one beyond the budget.
        """
        clock = self.timing.clock
        self.budget.call(clock.monotonic())
        deadline = clock.monotonic() + timeout_s
        number = failures = 0
        while True:
            number += 1
            try:
                async with asyncio.timeout(max(deadline - clock.monotonic(), 0.0)):
                    return await attempt(number)
            except TimeoutError as error:
                raise timed_out(what, timeout_s, number) from error
            except LMError as error:
                error.attempts += number - 1  # one that was never sent comes with 0
                if adapt(error):
                    continue
                failures += 1
                if not error.retryable or failures >= self.max_attempts:
                    raise
                wait_s = self.wait_s(failures, error)
                if wait_s >= deadline - clock.monotonic():
                    raise
                is_paced = error.retry_after_s is not None or isinstance(error, LMRateLimitError)
                if not is_paced and not self.budget.retry(clock.monotonic()):
                    error.message += " It was not tried again: too many calls fail, and the retry budget is used up."
                    error.args = (error.message,)
                    raise
            await self.timing.sleep(wait_s)


def timed_out(what: str, timeout_s: float, attempts: int) -> LMTimeoutError:
    """Return the error of a call without an answer within its timeout."""
    return LMTimeoutError(
        f"{what} gave no answer within {timeout_s:g} s. Raise timeout_s, or check that the endpoint is not overloaded.",
        attempts=attempts,
    )
