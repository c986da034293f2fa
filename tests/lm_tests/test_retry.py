"""Waits between attempts, and the deadline over all of them."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_agents.clock import ManualClock
from dspex_ray.errors import LMError, LMRateLimitError, LMServerError, LMTimeoutError
from dspex_ray.lm.retry import Retry, Timing


class ClockedSleep:
    """A sleep that moves the clock by hand."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        self._clock.advance(seconds)


def clocked(clock: ManualClock, max_attempts: int = 4) -> Retry:
    return Retry(max_attempts=max_attempts, timing=Timing(clock=clock, sleep=ClockedSleep(clock), rng=random.Random(1)))


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(1, 60), st.integers())
def test_a_wait_is_a_random_part_of_a_doubling_up_to_twenty_seconds(failures: int, seed: int) -> None:
    retry = Retry(timing=Timing(rng=random.Random(seed)))
    whole = min(20.0, 0.5 * 2.0 ** (failures - 1))
    assert 0 <= retry.wait_s(failures, LMServerError("x")) <= whole


def test_waits_are_spread_over_the_whole_of_their_range() -> None:
    retry = Retry(timing=Timing(rng=random.Random(2)))
    waits = sorted(retry.wait_s(1, LMServerError("x")) for _ in range(200))
    assert (waits[0] < 0.05, waits[-1] > 0.45) == (True, True)


@settings(deadline=None)  # a busy machine is no failure
@given(st.floats(0, 1000), st.integers())
def test_retry_after_is_never_undercut(said: float, seed: int) -> None:
    retry = Retry(timing=Timing(rng=random.Random(seed)))
    waited = retry.wait_s(1, LMRateLimitError("x", retry_after_s=said))
    assert said <= waited <= said * 1.1 + 0.05


def test_the_same_seed_gives_the_same_waits() -> None:
    waits = [[Retry(timing=Timing(rng=random.Random(3))).wait_s(n, LMServerError("x")) for n in (1, 2)] for _ in "ab"]
    assert waits[0] == waits[1]


def failing(error_of: type[LMError], clock: ManualClock, each_s: float, tried: list[int]) -> Retry:
    """Run an attempt that always fails and takes `each_s`; return nothing but the error it ends with."""
    retry = clocked(clock)

    async def attempt(number: int) -> None:
        tried.append(number)
        clock.advance(each_s)
        raise error_of(f"attempt {number}")

    asyncio.run(retry.run(attempt, timeout_s=10, what="the model"))
    return retry


def test_attempts_end_when_the_time_is_used_up() -> None:
    tried: list[int] = []
    with pytest.raises(LMServerError, match="attempt 2") as caught:
        failing(LMServerError, ManualClock(), 6.0, tried)
    assert (tried, caught.value.attempts) == ([1, 2], 2)


def test_an_error_that_will_not_pass_is_raised_at_once() -> None:
    tried: list[int] = []
    with pytest.raises(LMError, match="attempt 1"):
        failing(LMError, ManualClock(), 0.0, tried)
    assert tried == [1]


def test_an_attempt_that_never_ends_is_a_timeout_that_names_the_model() -> None:
    async def attempt(_: int) -> None:
        await asyncio.Event().wait()

    with pytest.raises(LMTimeoutError, match=r"the model gave no answer within 0\.05 s"):
        asyncio.run(Retry().run(attempt, timeout_s=0.05, what="the model"))


def test_an_adapted_request_follows_at_once_and_is_no_failure() -> None:
    clock = ManualClock()
    adaptations = iter([True, True, False])

    async def attempt(number: int) -> int:
        if number < 3:
            raise LMError("not supported", status=400)
        return number

    run = clocked(clock, max_attempts=1).run(attempt, timeout_s=10, what="m", adapt=lambda _: next(adaptations))
    assert asyncio.run(run) == 3
    assert clock.monotonic() == 0.0
