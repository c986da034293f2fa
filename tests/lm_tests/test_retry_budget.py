"""The budget of retries: a server that fails is not asked many times as often."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.clock import ManualClock
from dspex_ray.errors import ConfigurationError, LMError, LMRateLimitError, LMServerError
from dspex_ray.lm.retry import Retry, Timing
from dspex_ray.lm.retry_budget import RetryBudget


def tries(retry: Retry, error: LMError, calls: int) -> tuple[int, LMError]:
    """Make so many calls that fail; return the attempts of all and the last error."""
    count = 0

    async def attempt(_: int) -> None:
        nonlocal count
        count += 1
        raise type(error)(error.message, retry_after_s=error.retry_after_s)

    last = error
    for _ in range(calls):
        try:
            asyncio.run(retry.run(attempt, timeout_s=1e6, what="m"))
        except LMError as caught:
            last = caught
    return count, last


def retry_with(budget: RetryBudget) -> Retry:
    async def no_time(_: float) -> None:
        await asyncio.sleep(0)

    return Retry(timing=Timing(clock=ManualClock(), sleep=no_time), budget=budget)


def test_of_calls_that_all_fail_a_fifth_is_retried_beyond_the_reserve() -> None:
    attempts, last = tries(retry_with(RetryBudget(0.2, reserve_per_s=1.0, window_s=10.0)), LMServerError("down"), 200)
    assert 200 + 45 <= attempts <= 200 + 50
    assert "retry budget is used up" in str(last)


@pytest.mark.parametrize("error", [LMRateLimitError("slow"), LMServerError("busy", retry_after_s=0.1)])
def test_retries_whose_pace_the_provider_sets_are_outside_the_budget(error: LMError) -> None:
    attempts, _ = tries(retry_with(RetryBudget(0.0, reserve_per_s=0.0)), error, 10)
    assert attempts == 40


def test_a_single_call_has_all_its_attempts() -> None:
    attempts, last = tries(retry_with(RetryBudget()), LMServerError("down"), 1)
    assert (attempts, "budget" in str(last)) == (4, False)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=300))
def test_retries_never_pass_the_share_of_the_calls_and_the_reserve(steps: list[tuple[bool, float]]) -> None:
    budget, now, calls, retries = RetryBudget(0.2, reserve_per_s=2.0, window_s=10.0), 0.0, 0, 0
    for is_call, wait_s in steps:
        now += wait_s
        if is_call:
            calls += 1
            budget.call(now)
        else:
            retries += budget.retry(now)
    assert retries <= 0.2 * calls + 2.0 * (10.0 + now) + 1e-6


def test_deposits_are_forgotten_and_a_copy_begins_anew() -> None:
    budget = RetryBudget(1.0, reserve_per_s=0.0, window_s=10.0)
    budget.call(0.0)
    budget.call(0.0)
    assert budget.retry(0.0)
    copy = pickle.loads(pickle.dumps(budget))
    assert not budget.retry(100.0)
    assert not copy.retry(0.0)
    assert (copy.share, copy.reserve_per_s, copy.window_s) == (1.0, 0.0, 10.0)


@pytest.mark.parametrize("settings", [(-0.1, 1.0, 1.0), (0.2, -1.0, 1.0), (0.2, 1.0, 0.0), (float("nan"), 1.0, 1.0)])
def test_a_budget_that_is_none_is_refused(settings: tuple[float, float, float]) -> None:
    share, reserve_per_s, window_s = settings
    with pytest.raises(ConfigurationError, match="retry budget"):
        RetryBudget(share, reserve_per_s=reserve_per_s, window_s=window_s)
