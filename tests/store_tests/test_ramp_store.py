"""Ramps in the store: what is kept comes back, and a ramp and its plans are in force together or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dspex_agents.database import Database
from dspex_ray.errors import UsageError
from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.store.plans import PlanRevision, PlanStore
from dspex_ray.store.ramps import KeptRamp, RampStore
from dspex_ray.traffic.plan import TrafficPlan
from dspex_ray.traffic.ramp import ArmEvidence, Ramp, RampState

RAMP = KeptRamp(
    endpoint="shop", number=0, revision=0, by="ann", ramp=Ramp(old="1", new="2"), state=RampState(since=5.0)
)


@pytest.fixture
def plans(database: Database) -> PlanStore:
    plans = PlanStore(database)
    plans.put(asked(0.0))
    return plans


@pytest.fixture
def ramps(database: Database) -> RampStore:
    return RampStore(database)


def asked(share: float) -> PlanRevision:
    plan = TrafficPlan.split({"1": 1 - share, "2": share})
    return PlanRevision(
        endpoint="shop", revision=0, kind="change", program="s:R", carried="1", plan=plan, at=5.0, by="ann"
    )


def test_a_ramp_comes_back_whole(plans: PlanStore, ramps: RampStore) -> None:
    evidence = {
        "2": ArmEvidence(answered=Counts(3, 4), measures={"latency_s": Moments(3, 0.5, 0.25), "cost_usd": Moments()})
    }
    begun = ramps.begin(replace(RAMP, evidence=evidence, had=4), asked(0.1), 1)
    assert (begun.number, begun.revision, plans.number("shop")) == (1, 2, 2)
    assert ramps.last("shop") == begun
    assert ramps.running() == [begun]
    assert ramps.last("other") is None


def test_a_ramp_that_cannot_begin_leaves_the_plan_in_force(plans: PlanStore, ramps: RampStore) -> None:
    with pytest.raises(UsageError, match="changed meanwhile"):
        ramps.begin(RAMP, asked(0.1), 7)
    ramps.begin(RAMP, asked(0.1), 1)
    with pytest.raises(UsageError, match="begun by ann, runs already"):
        ramps.begin(RAMP, asked(0.2), 2)
    assert plans.number("shop") == 2


def test_a_step_whose_plan_came_too_late_is_not_kept(plans: PlanStore, ramps: RampStore) -> None:
    begun = ramps.begin(RAMP, asked(0.1), 1)
    plans.put(asked(0.5))
    with pytest.raises(UsageError, match="changed meanwhile"):
        ramps.keep(replace(begun, had=9), asked(0.2))
    assert ramps.last("shop") == begun


def test_of_many_ramps_begun_at_once_exactly_one_runs(plans: PlanStore, ramps: RampStore) -> None:
    def begin(share: float) -> bool:
        try:
            ramps.begin(RAMP, asked(share), 1)
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(begin, [0.1, 0.2, 0.3, 0.4])) == [False, False, False, True]
    assert len(ramps.running()) == 1


def test_one_that_ended_runs_no_more_and_the_next_gets_the_next_number(plans: PlanStore, ramps: RampStore) -> None:
    begun = ramps.begin(RAMP, asked(0.1), 1)
    ramps.keep(replace(begun, state=RampState(status="done", since=9.0)), asked(1.0))
    assert ramps.running() == []
    assert ramps.begin(RAMP, asked(0.1), plans.number("shop")).number == 2
