"""What a traffic plan may be, and who gets which version under it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import ConfigurationError
from dspex_ray.traffic.dealing import deal
from dspex_ray.traffic.plan import Arm, Rule, Shadow, TrafficPlan

USERS = [f"user-{number}" for number in range(4000)]


def arms_of(plan: TrafficPlan) -> dict[str, str]:
    return {user: deal(plan, {}, user, "req-1").arm for user in USERS}


def test_arms_get_the_share_of_users_that_their_weights_say() -> None:
    counts = Counter(arms_of(TrafficPlan.split({"1": 0.7, "2": 0.2, "3": 0.1})).values())
    assert [round(counts[arm] / len(USERS), 1) for arm in ("1", "2", "3")] == [0.7, 0.2, 0.1]


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_users_move_only_towards_the_arm_that_gained(before: float, after: float) -> None:
    first, then = (TrafficPlan.split({"old": 1 - share, "new": share}) for share in (before, after))
    gained = "new" if after >= before else "old"
    for user in USERS[:60]:
        was, is_now = deal(first, {}, user, "r").arm, deal(then, {}, user, "r").arm
        assert is_now in {was, gained}


def test_a_user_gets_the_same_arm_for_every_request_and_strangers_do_not() -> None:
    plan = TrafficPlan.split({"1": 0.5, "2": 0.5}, sticky_header="x-user")
    named = {deal(plan, {"x-user": "ann"}, None, f"req-{number}").arm for number in range(50)}
    strangers = {deal(plan, {}, None, f"req-{number}").arm for number in range(50)}
    assert (len(named), len(strangers)) == (1, 2)
    assert deal(plan, {"x-user": "ann"}, None, "r").reason == "sticky"
    assert deal(plan, {}, None, "r").reason == "weight"
    assert deal(plan, {"x-user": "bob"}, "ann", "r").arm == deal(plan, {"x-user": "ann"}, None, "r").arm


def test_another_salt_deals_anew() -> None:
    first, second = (arms_of(TrafficPlan.split({"1": 0.5, "2": 0.5}, salt=salt)) for salt in ("a", "b"))
    moved = sum(first[user] != second[user] for user in USERS)
    assert 0.45 < moved / len(USERS) < 0.55


def test_rules_come_before_weights_in_their_order() -> None:
    rules = (
        Rule(name="exact", header="x-group", value="beta-2", arm="1"),
        Rule(name="beta", header="x-group", value="beta", arm="2", match="prefix"),
    )
    plan = TrafficPlan.split({"1": 1.0, "2": 0.0}, rules=rules)
    assert deal(plan, {"x-group": "beta-1"}, None, "r").reason == "rule:beta"
    assert deal(plan, {"x-group": "beta-2"}, None, "r").arm == "1"
    assert deal(plan, {"x-group": "alpha"}, None, "r").arm == "1"


def test_a_shadow_gets_its_share_of_copies_and_answers_nobody() -> None:
    plan = TrafficPlan(arms=(Arm(version="1", weight=1.0),), shadows=(Shadow(version="2", share=0.25),))
    routes = [deal(plan, {}, None, f"req-{number}") for number in range(2000)]
    assert {route.version for route in routes} == {"1"}
    assert 0.2 < sum(route.shadows == ("2",) for route in routes) / 2000 < 0.3
    assert plan.versions == ("1", "2")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"1": 0.5, "2": 0.4}, r"sum to 0\.9, not to 1 \(1 0\.5, 2 0\.4\)"),
        ({"1": 1.5, "2": -0.5}, r"arm '1' is between 0 and 1, got 1\.5; .* arm '2'"),
        ({"1": float("nan")}, "between 0 and 1, got nan"),
        ({}, "arms: there is none"),
    ],
)
def test_weights_that_cannot_be_are_named(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TrafficPlan.split(weights)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Rule(name="b", header="x-g", value="beta-1", arm="1"), "'a' and 'b' overlap"),
        (Rule(name="a", header="x-h", value="v", arm="1"), "the name 'a' occurs twice"),
        (Rule(name="c", header="x-h", value="v", arm="9"), "sends to '9', which is no arm"),
        (Rule(name="c", header="bad name", value="v", arm="1"), "'bad name' is no header's name"),
    ],
)
def test_rules_that_cannot_be_are_named(second: Rule, message: str) -> None:
    first = Rule(name="a", header="x-g", value="beta", arm="1", match="prefix")
    with pytest.raises(ConfigurationError, match=message):
        TrafficPlan.split({"1": 1.0}, rules=(first, second))


def test_a_plan_travels_as_json() -> None:
    plan = TrafficPlan(
        arms=(Arm(version="3", weight=0.9, name="stable"), Arm(version="4", weight=0.1)),
        rules=(Rule(name="staff", header="x-staff", value="yes", arm="4"),),
        shadows=(Shadow(version="5", share=0.5),),
        sticky_header="x-user",
        salt="s",
    )
    assert TrafficPlan.from_json(plan.to_json()) == plan


def test_everything_wrong_with_a_document_is_named_by_its_path() -> None:
    given = {"arms": [{"version": 3, "wieght": 1}, "x"], "rules": {}, "shadow": []}
    with pytest.raises(ConfigurationError) as told:
        TrafficPlan.from_json(given)
    for part in (
        "arms[0].version must be a text, got a number",
        "arms[0] has an unknown key 'wieght': did you mean 'weight'?",
        "arms[0] needs 'weight'",
        "arms[1] must be an object, got a text",
        "rules must be a list, got an object",
        "unknown key 'shadow': did you mean 'shadows'?",
    ):
        assert part in str(told.value)


def test_new_weights_are_given_by_the_name_of_an_arm() -> None:
    plan = TrafficPlan.split({"1": 1.0, "2": 0.0})
    assert [arm.weight for arm in plan.weighted({"1": 0.0, "2": 1.0}).arms] == [0.0, 1.0]
    with pytest.raises(ConfigurationError, match="no arm '3'; it has 1, 2"):
        plan.weighted({"3": 1.0})
