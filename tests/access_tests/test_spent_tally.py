"""The tally of money: every gate knows what the others spent, whoever comes and goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.access.limits import Limits
from dspex_ray.access.meter import Meter, Spent
from dspex_ray.access.tally import MOST_GATES, SpentTally


def spent(usd: float, name: str = "k", day: int = 1) -> Spent:
    return Spent("key", name, day, usd)


def told(tally: SpentTally, gate: str) -> dict[str, float]:
    return {one.name: one.usd for one in tally.elsewhere(gate)}


words = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("kl"), st.floats(0, 10)), max_size=30)


@given(words)
def test_a_gate_is_told_the_last_word_of_all_others(said: list[tuple[str, str, float]]) -> None:
    tally = SpentTally()
    last: dict[str, dict[str, float]] = {}
    for gate, name, usd in said:
        tally.put(gate, [spent(usd, name)])
        last.setdefault(gate, {})[name] = usd
    for gate in "abc":
        for name, usd in told(tally, gate).items():
            others = sum(own.get(name, 0.0) for other, own in last.items() if other != gate)
            assert usd == pytest.approx(others, abs=1e-9)


def test_another_day_begins_at_nothing_and_late_word_of_the_last_one_is_passed_over() -> None:
    tally = SpentTally([spent(5.0)])
    tally.put("a", [spent(1.0)])
    assert told(tally, "b") == {"k": 6.0}
    tally.put("a", [spent(0.5, day=2), spent(9.0, day=1)])
    assert tally.elsewhere("b") == [spent(0.5, day=2)]


def test_gates_that_are_gone_stay_counted_beyond_the_bound_of_those_kept_apart() -> None:
    tally = SpentTally()
    for n in range(MOST_GATES + 50):
        tally.put(f"gate-{n}", [spent(1.0)])
    assert len(tally._by_gate) == MOST_GATES
    assert told(tally, "new") == {"k": pytest.approx(MOST_GATES + 50)}
    assert told(tally, f"gate-{MOST_GATES}") == {"k": pytest.approx(MOST_GATES + 49)}


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.01, 0.3)), max_size=60))
def test_gates_that_hear_of_each_other_pass_a_cap_by_less_than_one_request(asks: list[tuple[int, float]]) -> None:
    meters, tally, total = [Meter(Limits(usd_per_day=1.0), 0.0) for _ in range(3)], SpentTally(), 0.0
    for which, cost in asks:
        meter = meters[which]
        for heard in tally.elsewhere(str(which)):
            meter.hear(heard.day, heard.usd)
        if meter.refusal(0.0, 1) is None:
            assert total < 1.0
            meter.enter()
            meter.leave(cost, 1)
            total += cost
            tally.put(str(which), [spent(meter.spent_here[1])])
        else:
            assert total >= 1.0 - 1e-6
