"""A ramp goes on while the new version is no worse, and back at once when it surely is."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import ConfigurationError
from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.traffic.plan import Arm, TrafficPlan
from dspex_ray.traffic.ramp import ArmEvidence, Guard, Ramp, RampState, RampStep, advance, weight_of

STEPS = (RampStep(weight=0.1, hold_s=60, requests=10), RampStep(weight=0.5, hold_s=60))
RAMP = Ramp(old="1", new="2", steps=STEPS)


def answered(old: tuple[int, int], new: tuple[int, int]) -> Mapping[str, ArmEvidence]:
    """Return evidence of (answered, asked) for each arm."""
    return {"1": ArmEvidence(answered=Counts(*old)), "2": ArmEvidence(answered=Counts(*new))}


def measured(name: str, old: float, new: float, count: int = 2000) -> Mapping[str, ArmEvidence]:
    sides = {"1": old, "2": new}
    return {
        arm: ArmEvidence(answered=Counts(count, count), measures={name: Moments(count, mean, 0.01 * count)})
        for arm, mean in sides.items()
    }


def test_a_step_ends_once_it_held_long_enough_and_saw_enough_requests() -> None:
    state = RampState(since=100.0)
    assert advance(RAMP, state, answered((50, 50), (9, 9)), 200.0) == state
    assert advance(RAMP, state, answered((50, 50), (10, 10)), 159.0) == state
    later = advance(RAMP, state, answered((50, 50), (10, 10)), 160.0)
    assert (later.step, later.since, weight_of(RAMP, later)) == (1, 160.0, 0.5)
    done = advance(RAMP, later, {}, 220.0)
    assert (done.status, weight_of(RAMP, done)) == ("done", 1.0)
    assert advance(RAMP, done, answered((50, 50), (0, 999)), 999.0) == done


def test_a_version_that_fails_requests_loses_everything_at_once() -> None:
    state = advance(RAMP, RampState(), answered((995, 1000), (80, 100)), 1.0)
    assert (state.status, weight_of(RAMP, state)) == ("rolled_back", 0.0)
    assert state.reason is not None
    assert state.reason.startswith("the share of errors is +19.5 points, at least +")


@pytest.mark.parametrize(
    ("guard", "old", "new"),
    [
        (Guard(measure="latency_s", margin=0.5), 1.0, 1.8),
        (Guard(measure="cost_usd", margin=0.2), 0.5, 0.7),
        (Guard(measure="score", margin=0.05), 0.8, 0.6),
    ],
)
def test_each_measure_can_break_its_guard_and_only_beyond_the_margin(guard: Guard, old: float, new: float) -> None:
    ramp = Ramp(old="1", new="2", steps=STEPS, guards=(guard,))
    assert advance(ramp, RampState(), measured(guard.measure, old, new), 1.0).status == "rolled_back"
    near = old + (new - old) * 0.1
    assert advance(ramp, RampState(), measured(guard.measure, old, near), 1.0).status == "running"
    assert advance(ramp, RampState(), measured(guard.measure, new, old), 1.0).status == "running"


def test_a_version_that_is_no_worse_is_hardly_ever_called_so_however_often_one_looks() -> None:
    rng, back = random.Random(5), 0
    ramp = Ramp(old="1", new="2", steps=(RampStep(weight=0.5, hold_s=1e9),), guards=(Guard(measure="errors"),))
    for _ in range(40):
        state, counts = RampState(), [Counts(), Counts()]
        for _ in range(12):
            counts = [one + Counts(sum(rng.random() < 0.9 for _ in range(30)), 30) for one in counts]
            state = advance(ramp, state, {str(k + 1): ArmEvidence(answered=one) for k, one in enumerate(counts)}, 0.0)
        back += state.status == "rolled_back"
    assert back <= 2


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.floats(0, 100)), max_size=20))
def test_the_share_never_shrinks_but_to_nothing_and_nothing_is_final(seen: list[tuple[int, int, float]]) -> None:
    state, now, weights = RampState(), 0.0, [0.1]
    for good, bad, later in seen:
        now += later
        state = advance(RAMP, state, answered((1000, 1000), (good, good + bad)), now)
        weights.append(weight_of(RAMP, state))
    rising = weights[: weights.index(0.0)] if 0.0 in weights else weights
    assert rising == sorted(rising)
    assert set(weights[len(rising) :]) <= {0.0}


def test_the_other_arms_keep_their_share() -> None:
    before = TrafficPlan(
        arms=(Arm(version="1", weight=0.8), Arm(version="2", weight=0.0), Arm(version="3", weight=0.2))
    )
    after = RAMP.plan(before, 0.25)
    assert [round(arm.weight, 9) for arm in after.arms] == [0.6, 0.2, 0.2]


def test_everything_wrong_with_a_ramp_is_named() -> None:
    steps = (RampStep(weight=0.5, hold_s=-1), RampStep(weight=0.2, hold_s=0), RampStep(weight=2, hold_s=0))
    with pytest.raises(ConfigurationError) as told:
        Ramp(old="1", new="1", steps=steps, guards=(Guard(measure="errors", margin=-1, alpha=0.7),))
    for part in ("from '1' to itself", "step 1 holds", "got 0.5, 0.2, 2", "step 3 is above 0", "margin", "alpha"):
        assert part in str(told.value)


def test_a_ramp_travels_as_json() -> None:
    assert Ramp.from_json(RAMP.to_json()) == RAMP
