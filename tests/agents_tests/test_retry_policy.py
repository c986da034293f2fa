"""Retry policies as tables, and a budget that is never overdrawn."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.errors import SpecError
from dspex_agents.services.retry_policy import (
    EXPONENTIAL,
    FIXED,
    IMMEDIATE,
    LINEAR,
    BudgetSettings,
    RetryBudget,
    RetryPolicies,
    RetryPolicy,
)

ONCE = RetryPolicy(max_retries=1)


class FlakyError(Exception):
    retryable = True


class SureError(Exception):
    retryable = False


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (RetryPolicy(jitter=0), [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]),
        (RetryPolicy(shape="linear", max_delay_s=2.0, jitter=0), [0.5, 1.0, 1.5, 2.0, 2.0]),
        (RetryPolicy(shape="fixed", initial_s=1.0, jitter=0), [1.0, 1.0, 1.0]),
        (RetryPolicy(shape="fixed", initial_s=9.0, max_delay_s=3.0, jitter=0), [3.0]),
        (IMMEDIATE, [0.0, 0.0, 0.0]),
    ],
)
def test_each_shape_has_its_delays(policy: RetryPolicy, delays: list[float]) -> None:
    assert [policy.delay_s(n, random.Random(0)) for n in range(1, len(delays) + 1)] == delays


@given(
    policy=st.sampled_from([EXPONENTIAL, LINEAR, FIXED, IMMEDIATE]),
    retry=st.integers(1, 10_000),
    seed=st.integers(0, 99),
)
def test_no_delay_passes_its_cap_and_the_same_seed_gives_the_same_delay(
    policy: RetryPolicy, retry: int, seed: int
) -> None:
    delay = policy.delay_s(retry, random.Random(seed))
    assert 0 <= delay <= policy.max_delay_s
    assert delay == policy.delay_s(retry, random.Random(seed))


def test_jitter_spreads_the_delays_of_callers_that_failed_together() -> None:
    delays = {FIXED.delay_s(1, random.Random(seed)) for seed in range(20)}
    assert len(delays) > 15
    assert all(0.8 <= delay <= 1.2 for delay in delays)


@pytest.mark.parametrize(
    ("retry", "elapsed_s", "at_least_s", "delay"),
    [
        (1, 0.0, 0.0, 1.0),
        (3, 0.0, 0.0, 1.0),
        (4, 0.0, 0.0, None),  # the retries are used up
        (1, 9.0, 0.0, 1.0),
        (1, 9.1, 0.0, None),  # it would begin too late
        (1, 0.0, 7.0, 7.0),  # the other side asked for it
        (1, 4.0, 7.0, None),
    ],
)
def test_a_retry_is_given_up_when_number_or_time_are_used_up(
    retry: int, elapsed_s: float, at_least_s: float, delay: float | None
) -> None:
    policy = RetryPolicy(shape="fixed", initial_s=1.0, total_s=10.0, max_retries=3, jitter=0)
    assert policy.next_delay_s(retry, elapsed_s, random.Random(0), at_least_s=at_least_s) == delay


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"shape": "cubic"}, "retry.shape must be one of 'exponential', 'linear', 'fixed', 'immediate', got 'cubic'"),
        ({"initial_s": -1}, "retry.initial_s"),
        ({"total_s": float("nan")}, "retry.total_s"),
        ({"factor": 0.5}, "retry.factor"),
        ({"max_retries": -1}, "retry.max_retries"),
        ({"jitter": 1.0}, "retry.jitter"),
    ],
)
def test_a_bad_policy_is_refused_by_field(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        RetryPolicy(**fields)


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        (FileNotFoundError(), None),
        (ConnectionResetError(), FIXED),  # by a base class
        (FlakyError(), ONCE),  # by name, before its attribute
        (type("SubFlakyError", (FlakyError,), {})(), ONCE),  # by the name of a base
        (type("Unlisted", (Exception,), {"retryable": True})(), EXPONENTIAL),
        (type("Odd", (Exception,), {"retryable": "yes"})(), None),
        (SureError(), None),
        (ValueError(), None),
    ],
)
def test_the_first_row_that_fits_decides_then_the_attribute(error: Exception, policy: RetryPolicy | None) -> None:
    policies = RetryPolicies(table=((FileNotFoundError, "never"), (OSError, FIXED), ("FlakyError", ONCE)))
    assert policies.policy_for(error) is policy


def test_retryable_errors_can_be_switched_off_and_a_row_still_holds() -> None:
    policies = RetryPolicies(table=((KeyError, ONCE),), retryable="never")
    assert policies.policy_for(FlakyError()) is None
    assert policies.policy_for(KeyError()) is ONCE


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (((OSError, ONCE), (FileNotFoundError, "never")), r"table\[1\] \(FileNotFoundError\) is never reached"),
        ((("OSError", ONCE), (OSError, "never")), "never reached"),
        (((OSError, ONCE), ("OSError", "never")), "never reached"),
        (((int, ONCE),), r"table\[0\] must name an exception class"),
        ((("not a name", ONCE),), "must name an exception class"),
        (((OSError, "sometimes"),), r"table\[0\] must be a RetryPolicy or 'never', got 'sometimes'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_row(table: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        RetryPolicies(table=table)


def test_a_budget_is_spent_by_retries_and_earned_by_successes_and_time() -> None:
    budget = RetryBudget(BudgetSettings(size=2, per_success=0.5, per_s=0.1))
    assert [budget.withdraw(0.0) for _ in range(4)] == [True, True, False, False]
    assert budget.denied == 2
    budget.success(0.0)
    assert not budget.withdraw(0.0)
    budget.success(0.0)
    assert budget.withdraw(0.0)
    assert budget.balance(10.0) == pytest.approx(1.0)
    assert budget.balance(1000.0) == 2


@pytest.mark.parametrize("fields", [{"size": 0.5}, {"per_success": -1}, {"per_s": float("nan")}])
def test_a_bad_budget_is_refused_by_field(fields: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=f"retry budget: {next(iter(fields))} must"):
        BudgetSettings(**fields)


@given(
    steps=st.lists(st.tuples(st.sampled_from("rrrs"), st.floats(0, 5)), max_size=80),
    size=st.floats(1, 10),
    per_success=st.floats(0, 2),
    per_s=st.floats(0, 2),
)
def test_from_any_moment_on_no_more_retries_are_paid_than_the_budget_allows(
    steps: list[tuple[str, float]], size: float, per_success: float, per_s: float
) -> None:
    budget = RetryBudget(BudgetSettings(size=size, per_success=per_success, per_s=per_s))
    now, events = 0.0, []
    for step, wait in steps:
        now += wait
        if step == "s":
            budget.success(now)
            events.append((now, "s"))
        elif budget.withdraw(now):
            events.append((now, "r"))
        assert 0 <= budget.balance(now) <= size
    for first in range(len(events)):
        window = events[first:]
        earned = per_success * sum(kind == "s" for _, kind in window) + per_s * (window[-1][0] - window[0][0])
        assert sum(kind == "r" for _, kind in window) <= size + earned + 1e-6
