"""Ramps that run: from what replicas saw to the next plan, over restarts and beside other changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from live_versions import Shelf, Told, client_of, until

from dspex_agents import AgentSystemError, ChildSpec, SupervisorSpec, SystemSpec, start_local_system
from dspex_agents.clock import ManualClock
from dspex_ray.experiments.evidence import Counts, Moments
from dspex_ray.serving.arm_reporter import ArmReporter
from dspex_ray.serving.contract import Caller, Outcome
from dspex_ray.serving.plan_follower import PlanFollower
from dspex_ray.serving.versions_router import VersionsRouter
from dspex_ray.store import Store, open_store
from dspex_ray.traffic.control import EndpointTraffic
from dspex_ray.traffic.plan import TrafficPlan
from dspex_ray.traffic.ramp import ArmEvidence, Guard, RampStep
from dspex_ray.traffic.ramping import RampRunner, ReportArms
from dspex_ray.traffic.tally import ArmTally
from dspex_ray.traffic.traffic_agent import TRAFFIC, TrafficAgent

PATH = "shop:Route"
STEPS = (RampStep(weight=0.1, hold_s=60, requests=10), RampStep(weight=0.5, hold_s=60, requests=10))
GUARDS = (Guard(measure="errors", margin=0.01),)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def traffic(tmp_path: Path, clock: ManualClock) -> Iterator[EndpointTraffic]:
    """Hold an endpoint that answers with version 1, of a program with versions 1 and 2."""
    store = open_store(str(tmp_path / "store.db"))
    for number in (1, 2):
        store.save_version({"program": PATH, "values": {"t": number}, "demo_pool": None, "lm": None}, {}, now=1.0)
    found = EndpointTraffic("shop", store, by="ann", clock=clock)
    found.deployed(PATH, "1")
    yield found
    store.database.close()


@pytest.fixture
def runner(traffic: EndpointTraffic) -> RampRunner:
    return RampRunner(traffic.store.database)


def seen(old: tuple[int, int], new: tuple[int, int]) -> Mapping[str, Mapping[str, ArmEvidence]]:
    """Return evidence of (answered, asked) for both arms."""
    return {"shop": {"1": ArmEvidence(answered=Counts(*old)), "2": ArmEvidence(answered=Counts(*new))}}


def weights(traffic: EndpointTraffic) -> dict[str, float]:
    return {arm.version: round(arm.weight, 9) for arm in traffic.show().plan.arms}


def test_a_ramp_goes_through_its_steps_to_everything(
    traffic: EndpointTraffic, runner: RampRunner, clock: ManualClock
) -> None:
    traffic.ramp("2", steps=STEPS, guards=GUARDS)
    assert weights(traffic) == {"1": 0.9, "2": 0.1}
    assert runner.turn(seen((90, 90), (9, 9)), 1060.0) == []
    assert [one.state.step for one in runner.turn(seen((9, 9), (1, 1)), 1061.0)] == [1]
    assert weights(traffic) == {"1": 0.5, "2": 0.5}
    assert runner.turn(seen((9, 9), (9, 9)), 1200.0) == []  # too few of this step
    assert [one.state.status for one in runner.turn(seen((9, 9), (1, 1)), 1201.0)] == ["done"]
    assert weights(traffic) == {"1": 0.0, "2": 1.0}
    told = [(one.kind, one.by, one.why) for one in traffic.history()][1:]
    assert told == [
        ("change", "ann", "ramp to 2: step 1 of 2"),
        ("ramp", "ramp of ann", "ramp to 2: step 2 of 2"),
        ("ramp", "ramp of ann", "ramp to 2: all steps held"),
    ]
    assert traffic.last_ramp().evidence["2"].answered == Counts(20, 20)


def test_a_version_that_fails_loses_everything_and_its_reason_is_kept(
    traffic: EndpointTraffic, runner: RampRunner
) -> None:
    traffic.ramp("2", steps=STEPS, guards=GUARDS)
    runner.turn(seen((995, 1000), (80, 100)), 1001.0)
    assert weights(traffic) == {"1": 1.0, "2": 0.0}
    assert traffic.last_ramp().state.status == "rolled_back"
    assert "rolled back: the share of errors is +19.5 points" in traffic.show().why
    assert traffic.rollback().plan == TrafficPlan.all_to("1")


def test_another_process_goes_on_where_the_one_before_ended(traffic: EndpointTraffic, runner: RampRunner) -> None:
    traffic.ramp("2", steps=STEPS, guards=GUARDS)
    runner.turn(seen((90, 90), (9, 9)), 1059.0)
    later = RampRunner(traffic.store.database)
    assert [one.state.step for one in later.turn(seen((0, 0), (1, 1)), 1060.0)] == [1]


def test_any_other_change_ends_a_ramp_and_stays(traffic: EndpointTraffic, runner: RampRunner) -> None:
    traffic.ramp("2", steps=STEPS, guards=GUARDS)
    traffic.split({"1": 0.3, "2": 0.7})
    runner.turn(seen((0, 100), (100, 100)), 5000.0)
    assert weights(traffic) == {"1": 0.3, "2": 0.7}
    state = traffic.last_ramp().state
    assert (state.status, state.reason) == ("stopped", "revision 3 was put in force by ann")
    traffic.ramp("1", steps=STEPS, guards=GUARDS)
    assert traffic.last_ramp().number == 2


def outcome(arm: str, status: int, **others: Any) -> Outcome:
    told = {"latency_s": 0.5, "cost_usd": 0.25, **others}
    return Outcome(
        request_id="r", endpoint="shop", version=arm, arm=arm, caller=Caller(), status=status, at=1.0, **told
    )


def test_a_tally_counts_what_says_something_of_a_version_and_nothing_else() -> None:
    tally = ArmTally()
    for latency, cost in ((0.5, 0.25), (1.5, None)):
        tally.saw(outcome("1", 200, latency_s=latency, cost_usd=cost))
    for status in (500, 502, 504):
        tally.saw(outcome("2", status))
    for status in (401, 402, 413, 422, 429, 499):
        tally.saw(outcome("3", status))
    tally.saw(outcome("4", 200, shadow=True))
    assert tally.take() == {
        "1": ArmEvidence(
            answered=Counts(2, 2), measures={"latency_s": Moments(2, 1.0, 0.5), "cost_usd": Moments(1, 0.25, 0.0)}
        ),
        "2": ArmEvidence(answered=Counts(0, 3), measures={"latency_s": Moments(), "cost_usd": Moments()}),
    }
    assert tally.take() == {}


def test_a_report_that_did_not_arrive_is_sent_again_and_none_is_lost() -> None:
    tally, sent, answers = ArmTally(), list[ReportArms](), [False, True, True]

    async def ask(report: ReportArms) -> None:
        sent.append(report)
        tally.saw(outcome("1", 200))
        if not answers.pop(0):
            raise AgentSystemError("nobody there")

    async def work() -> None:
        reporter = ArmReporter("shop", "replica-1", tally, ask)
        tally.saw(outcome("1", 200))
        await reporter.start()
        await until(lambda: len(sent) == 3)
        await reporter.stop()

    asyncio.run(work())
    assert [(one.number, one.arms["1"].answered.trials) for one in sent] == [(1, 1), (1, 1), (2, 2)]


def test_a_version_that_fails_is_rolled_back_under_load_by_what_its_replica_reports(traffic: EndpointTraffic) -> None:
    """The whole way: requests, tally, reporter, agent, ramp, store, follower, router."""
    store: Store = traffic.store
    child = ChildSpec(id=TRAFFIC, start=TrafficAgent, kwargs={"store": open_store(store.database.url)})
    system = start_local_system(
        SystemSpec(name="ramps-only", supervisor=SupervisorSpec(id="supervisor", children=(child,)))
    )

    async def ask(body: Any) -> Any:
        return await system.aask(TRAFFIC, body, timeout_s=10.0)

    async def work() -> None:
        router = VersionsRouter("1", Told("1"), plan=TrafficPlan.all_to("1"), load=Shelf())
        tally = ArmTally()
        follower, reporter = PlanFollower("shop", router, ask, 0), ArmReporter("shop", "replica-1", tally, ask)
        await follower.start()
        await reporter.start()
        EndpointTraffic("shop", store, by="ann").ramp("2", steps=(RampStep(weight=0.5, hold_s=600),), guards=GUARDS)
        await until(lambda: router.versions == ("1", "2"))
        async with client_of(router, witness=tally) as client:
            async with asyncio.timeout(20):
                while traffic.show().revision == 2:
                    for _ in range(50):
                        await client.post("/", json={"fail": "2"})
                        await asyncio.sleep(0)
            await until(lambda: router.main == "1" and router.status()["shares"]["1"] == 1.0)
            assert {(await client.post("/", json={"fail": "2"})).status_code for _ in range(50)} == {200}
        await reporter.stop()
        await follower.stop()

    try:
        asyncio.run(work())
    finally:
        system.stop()
    kept = traffic.last_ramp()
    assert kept.state.status == "rolled_back"
    assert kept.evidence["1"].answered.failures == 0
    assert kept.evidence["2"].answered.successes == 0
