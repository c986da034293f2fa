"""Traffic plans in the store: revisions, compare-and-set and the way back, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dspex_agents.database import Database
from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.store.plans import PlanRevision, PlanStore
from dspex_ray.traffic.plan import Rule, Shadow, TrafficPlan


@pytest.fixture
def plans(database: Database) -> PlanStore:
    return PlanStore(database)


def asked(plan: TrafficPlan, endpoint: str = "shop", **others: Any) -> PlanRevision:
    told = {"revision": 0, "kind": "change", "program": "shop:Route", "carried": "3", "at": 5.0, "by": "ann", **others}
    return PlanRevision(endpoint=endpoint, plan=plan, **told)


def put(plans: PlanStore, *weights: float, expected: int | None = None, **others: Any) -> PlanRevision:
    plan = TrafficPlan.split({str(3 + n): weight for n, weight in enumerate(weights)})
    return plans.put(asked(plan, **others), expected=expected)


def test_a_plan_comes_back_whole_with_who_when_and_why(plans: PlanStore) -> None:
    rule = Rule(name="team", header="x-team", value="red", arm="4")
    plan = TrafficPlan.split(
        {"3": 0.9, "4": 0.1}, rules=(rule,), shadows=(Shadow(version="5", share=0.5),), sticky_header="x-user", salt="s"
    )
    kept = plans.put(asked(plan, by="ann", why="see whether 4 is better \0\ud800"))
    assert kept.revision == 1
    assert plans.current("shop") == kept
    assert kept.plan == plan
    assert (kept.by, kept.at, kept.why) == ("ann", 5.0, "see whether 4 is better \ufffd?")


def test_revisions_count_for_each_endpoint_and_none_is_lost(plans: PlanStore) -> None:
    numbers = [put(plans, 1.0).revision, put(plans, 0.5, 0.5).revision, put(plans, 1.0, endpoint="other").revision]
    assert numbers == [1, 2, 1]
    assert [len(one.plan.arms) for one in plans.revisions("shop")] == [1, 2]
    assert (plans.number("shop"), plans.number("other"), plans.number("none")) == (2, 1, 0)


def test_a_change_to_what_was_changed_meanwhile_is_refused(plans: PlanStore) -> None:
    put(plans, 1.0, expected=0)
    put(plans, 0.5, 0.5, expected=1)
    with pytest.raises(UsageError, match="revision 2 is in force, and 1 was"):
        put(plans, 0.9, 0.1, expected=1)
    assert plans.current("shop").plan == TrafficPlan.split({"3": 0.5, "4": 0.5})


def test_of_many_changes_to_the_same_revision_exactly_one_is_kept(plans: PlanStore) -> None:
    put(plans, 1.0)

    def change(share: float) -> bool:
        try:
            put(plans, 1 - share, share, expected=1)
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        kept = list(threads.map(change, [0.1, 0.2, 0.3, 0.4]))
    assert sorted(kept) == [False, False, False, True]
    assert plans.number("shop") == 2


def test_rollbacks_go_back_one_change_each_and_never_forth(plans: PlanStore) -> None:
    for share in (1.0, 0.9, 0.5):
        put(plans, share, 1 - share)
    back = [plans.roll_back("shop", by="bob", at=9.0, why="errors") for _ in range(2)]
    assert [one.plan.arms[0].weight for one in back] == [0.9, 1.0]
    assert (back[0].revision, back[0].kind, back[0].by) == (4, "rollback", "bob")
    with pytest.raises(UsageError, match="no way back"):
        plans.roll_back("shop", by="bob", at=9.0)


def test_a_rollback_keeps_what_the_replicas_carry_now(plans: PlanStore) -> None:
    put(plans, 1.0)
    plans.put(asked(TrafficPlan.all_to("4"), kind="deploy", carried="4"))
    back = plans.roll_back("shop", by="bob", at=9.0)
    assert (back.plan, back.carried) == (TrafficPlan.all_to("3"), "4")


def test_a_rollback_within_a_ramp_goes_back_to_before_all_of_it(plans: PlanStore) -> None:
    put(plans, 1.0, 0.0)
    put(plans, 0.99, 0.01)
    for share in (0.1, 0.5):
        put(plans, 1 - share, share, kind="ramp")
    assert plans.roll_back("shop", by="bob", at=9.0).plan == TrafficPlan.split({"3": 1.0, "4": 0.0})


def test_only_what_is_newer_than_what_was_seen_is_told(plans: PlanStore) -> None:
    put(plans, 1.0)
    put(plans, 1.0, endpoint="other")
    newest = put(plans, 0.5, 0.5)
    assert plans.newer([("shop", 1), ("other", 1), ("none", 0)]) == [newest]


def test_an_unknown_endpoint_is_told_with_those_there_are(plans: PlanStore) -> None:
    put(plans, 1.0)
    for ask in (plans.current, lambda name: plans.roll_back(name, by="bob", at=9.0)):
        with pytest.raises(UnknownNameError, match=r"Unknown endpoint 'shp'.*Did you mean 'shop'"):
            ask("shp")


def test_a_store_of_plans_travels_by_its_url(plans: PlanStore) -> None:
    put(plans, 1.0)
    twin: PlanStore = pickle.loads(pickle.dumps(plans))
    assert twin.number("shop") == 1
