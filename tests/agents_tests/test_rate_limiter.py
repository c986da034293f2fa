"""Token buckets: never faster than the rate, never more of them than the bound."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents.errors import SpecError
from dspex_agents.services.rate_limiter import RateLimitedError, RateLimiter, RateStatus


def passes(limiter: RateLimiter, identifier: str, now: float, amount: int = 1) -> bool:
    try:
        limiter.acquire(identifier, now, amount)
    except RateLimitedError:
        return False
    return True


def test_the_whole_limit_passes_at_once_and_then_what_time_brings_back() -> None:
    limiter = RateLimiter(1000, 60.0)
    now = 1.7e9  # as large as seconds since the epoch are
    assert sum(passes(limiter, "a", now) for _ in range(1500)) == 1000
    assert not passes(limiter, "a", now + 0.05)
    assert passes(limiter, "a", now + 0.06)
    assert passes(limiter, "b", now), "another identifier has a bucket of its own"


def test_the_error_says_when_and_exactly_then_it_passes() -> None:
    limiter = RateLimiter(3, 1.0)
    limiter.acquire("a", 0.1, 3)
    with pytest.raises(RateLimitedError, match=r"'a' is over its limit of 3 in 1 s; again in 0\.333 s") as caught:
        limiter.acquire("a", 0.1)
    limiter.acquire("a", 0.1 + caught.value.retry_after_s)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.identifier, copy.retry_after_s, str(copy)) == ("a", caught.value.retry_after_s, str(caught.value))
    assert (copy.executed, copy.retryable) == (False, True)


def test_status_tells_what_is_left_and_costs_nothing() -> None:
    limiter = RateLimiter(10, 5.0)
    assert limiter.status("a", 0.0) == RateStatus(10, 10, 0.0)
    limiter.acquire("a", 0.0, 7)
    assert [limiter.status("a", 0.0)] * 3 == [limiter.status("a", 0.0) for _ in range(3)]
    assert limiter.status("a", 0.0) == RateStatus(10, 3, 3.5)
    assert limiter.status("a", 1.25) == RateStatus(10, 5, 2.25)
    assert limiter.status("a", 99.0) == RateStatus(10, 10, 0.0)
    assert len(limiter) == 1


def test_only_busy_identifiers_are_kept_and_a_newcomer_waits_for_room() -> None:
    limiter = RateLimiter(1, 10.0, most_identifiers=2)
    limiter.acquire("a", 0.0)
    limiter.acquire("b", 4.0)
    for _ in range(2):
        with pytest.raises(RateLimitedError, match="2 identifiers are busy, no room for 'c'; again in 5 s"):
            limiter.acquire("c", 5.0)
    limiter.acquire("c", 10.0)
    assert len(limiter) == 2
    assert not passes(limiter, "b", 10.0), "the busy one was not forgotten"


@pytest.mark.parametrize(
    ("field", "value"), [("limit", 0), ("burst", 0), ("most_identifiers", 0), ("window_s", 0), ("window_s", -1)]
)
def test_a_bad_setting_is_named(field: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"rate limiter: {field} must be"):
        RateLimiter(**{field: value})


@pytest.mark.parametrize("amount", [0, -1, 6])
def test_an_amount_that_can_never_pass_is_refused(amount: int) -> None:
    with pytest.raises(SpecError, match="from 1 to the burst of 5"):
        RateLimiter(10, 1.0, burst=5).acquire("a", 0.0, amount)


@given(
    limit=st.integers(1, 20),
    window_s=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    most=st.integers(1, 3),
    steps=st.lists(
        st.tuples(st.sampled_from("abcde"), st.floats(0, 20), st.integers(1, 20), st.integers(1, 4)), max_size=60
    ),
)
def test_in_no_stretch_of_time_does_an_identifier_get_more_than_burst_and_rate(
    limit: int, window_s: float, burst: int, most: int, steps: list[tuple[str, float, int, int]]
) -> None:
    limiter = RateLimiter(limit, window_s, burst=burst, most_identifiers=most)
    now, passed = 0.0, []
    for identifier, wait, amount, times in steps:
        now += wait
        amounts = [min(amount, burst)] * times
        passed += [(now, identifier, each) for each in amounts if passes(limiter, identifier, now, each)]
        assert len(limiter) <= most
        assert 0 <= limiter.status(identifier, now).remaining <= burst
    for first, (begin, identifier, _) in enumerate(passed):
        done = 0
        for at, who, amount in passed[first:]:
            done += amount if who == identifier else 0
            assert done <= burst + (at - begin) * limit / window_s + 1e-5
