"""The meter of a key or tenant: rates, places and money hold whatever comes in whatever order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dspex_ray.access.limits import Limits
from dspex_ray.access.meter import Meter

gaps = st.lists(st.floats(0, 5), max_size=60)


def taken(meter: Meter, at: float, day: int = 1) -> bool:
    if meter.refusal(at, day) is not None:
        return False
    meter.enter()
    return True


@given(rate=st.floats(0.01, 100), burst=st.integers(1, 20), gaps=gaps)
def test_no_span_of_time_sees_more_than_the_burst_and_what_the_rate_gives(
    rate: float, burst: int, gaps: list[float]
) -> None:
    meter = Meter(Limits(requests_per_second=rate, burst=burst), 0.0)
    at, admitted = 0.0, []
    for gap in gaps:
        at += gap
        if taken(meter, at):
            admitted.append(at)
    for first, begun in enumerate(admitted):
        for last in range(first, len(admitted)):
            assert last - first + 1 <= burst + (admitted[last] - begun) * rate + 1e-6


@given(rate=st.floats(0.01, 1000), burst=st.integers(1, 20), gaps=gaps)
def test_who_waits_as_long_as_told_is_let_in_and_nobody_is_told_to_wait_for_nothing(
    rate: float, burst: int, gaps: list[float]
) -> None:
    meter = Meter(Limits(requests_per_second=rate, burst=burst), 0.0)
    at = 0.0
    for gap in gaps:
        at += gap
        if (refusal := meter.refusal(at, 1)) is not None:
            assert refusal.kind == "rate"
            assert refusal.retry_after_s is not None
            assert 0 < refusal.retry_after_s <= 1 / rate + 1e-9
            at += refusal.retry_after_s
        assert taken(meter, at)


def test_a_clock_that_stands_still_or_goes_back_gives_no_tokens() -> None:
    meter = Meter(Limits(requests_per_second=1.0, burst=2), 10.0)
    assert [taken(meter, at) for at in (10.0, 10.0, 10.0, 3.0, 10.5)] == [True, True, False, False, False]


def test_a_refused_request_takes_nothing() -> None:
    meter = Meter(Limits(requests_per_second=1.0, concurrent_requests=1), 0.0)
    assert taken(meter, 0.0)
    assert [meter.refusal(9.0, 1) is None for _ in range(5)] == [False] * 5
    meter.leave(0.0, 1)
    assert taken(meter, 9.0)


class Places(RuleBasedStateMachine):
    """Requests come and go: never more than the cap at once, and never refused below it."""

    def __init__(self) -> None:
        super().__init__()
        self.meter, self.under_way = Meter(Limits(concurrent_requests=3), 0.0), 0

    @rule()
    def comes(self) -> None:
        entered = taken(self.meter, 0.0)
        assert entered == (self.under_way < 3)
        self.under_way += entered

    @precondition(lambda self: self.under_way)
    @rule(cost=st.none() | st.floats(0, 1))
    def goes(self, cost: float | None) -> None:
        self.meter.leave(cost, 1)
        self.under_way -= 1

    @invariant()
    def as_many_as_came(self) -> None:
        assert self.meter.under_way == self.under_way <= 3


TestPlaces = Places.TestCase


class TestMoney:
    @given(st.lists(st.floats(0, 0.4), max_size=30))
    def test_requests_one_by_one_pass_the_cap_by_less_than_the_last_one(self, costs: list[float]) -> None:
        meter, spent = Meter(Limits(usd_per_day=1.0), 0.0), 0.0
        for cost in costs:
            if taken(meter, 0.0):
                assert spent < 1.0
                meter.leave(cost, 1)
                spent += cost
            else:
                assert spent >= 1.0 - 1e-6
        assert meter.spent_here[1] == pytest.approx(spent)

    def test_the_next_day_brings_new_money(self) -> None:
        meter = Meter(Limits(usd_per_day=1.0), 0.0)
        assert taken(meter, 0.0, day=1)
        meter.leave(2.0, 1)
        assert not taken(meter, 0.0, day=1)
        assert taken(meter, 0.0, day=2)

    def test_what_was_spent_elsewhere_counts_and_is_replaced_not_added(self) -> None:
        meter = Meter(Limits(usd_per_day=1.0), 0.0)
        for usd in (0.4, 0.6, 0.9):
            meter.hear(1, usd)
        assert meter.refusal(0.0, 1) is None
        meter.hear(1, 1.0)
        refusal = meter.refusal(0.0, 1)
        assert refusal is not None
        assert refusal.kind == "money"
        meter.hear(0, 0.0)  # late word of yesterday
        assert meter.refusal(0.0, 1) is not None

    @pytest.mark.parametrize("cost", [None, math.nan, -1.0])
    def test_a_cost_that_is_not_known_ends_the_day(self, cost: float | None) -> None:
        meter = Meter(Limits(usd_per_day=1.0), 0.0)
        assert taken(meter, 0.0)
        meter.leave(cost, 1)
        refusal = meter.refusal(0.0, 1)
        assert refusal is not None
        assert refusal.kind == "unpriced"
        assert meter.refusal(0.0, 2) is None

    def test_without_a_cap_on_money_a_cost_that_is_not_known_is_let_pass(self) -> None:
        meter = Meter(Limits(concurrent_requests=1), 0.0)
        assert taken(meter, 0.0)
        meter.leave(None, 1)
        assert meter.refusal(0.0, 1) is None


@given(rate=st.floats(1, 100), replicas=st.integers(1, 8))
def test_replicas_that_share_a_rate_let_no_more_through_together(rate: float, replicas: int) -> None:
    limits = Limits(requests_per_second=rate, burst=20)
    meters = [Meter(limits, 0.0, replicas) for _ in range(replicas)]
    at_once = sum(taken(meter, 0.0) for meter in meters for _ in range(40))
    assert at_once <= max(20, replicas)
    later = sum(taken(meter, 1.0) for meter in meters for _ in range(200))
    assert later <= max(20, replicas, rate + replicas)


def test_changed_limits_hold_at_once_and_give_no_new_burst() -> None:
    meter = Meter(Limits(requests_per_second=1.0, burst=10), 0.0)
    assert all(taken(meter, 0.0) for _ in range(8))
    meter.change(Limits(requests_per_second=1.0, burst=5), 1)
    assert [taken(meter, 0.0) for _ in range(3)] == [True, True, False]
