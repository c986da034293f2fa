"""Experiments from start to end: what they do to the traffic, what they find, and what stops a promotion."""

from __future__ import annotations

from pathlib import Path

import pytest

from dspex_ray.errors import ConfigurationError, UnknownNameError, UsageError
from dspex_ray.experiments.experiment import Experiment, read_weights
from dspex_ray.experiments.running import Experiments, as_json
from dspex_ray.experiments.verdicts import sentences
from dspex_ray.requests_kept.request import RequestDetails
from dspex_ray.store import audit_log
from dspex_ray.store.plans import PlanRevision
from dspex_ray.traffic.plan import Rule, TrafficPlan
from tests.support.experiment_scene import HALVES, Scene, dealt
from tests.support.kept_requests import kept_row


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "s.db")


def test_a_start_deals_the_arms_anew_and_is_in_the_audit_record(scene: Scene) -> None:
    one = scene.start()
    current = scene.plans.current("shop")
    assert (current.revision, one.revision, current.why) == (2, 2, "experiment tone started")
    assert {arm.version: arm.weight for arm in current.plan.arms} == HALVES
    assert current.plan.salt == "experiment tone"
    with scene.store.database.read() as connection:
        assert [entry.action for entry in audit_log.entries(connection)] == ["experiment.start"]


def test_a_real_difference_is_found_told_in_a_sentence_and_promoted(scene: Scene) -> None:
    one = scene.start(metrics=("success", "latency"))
    scene.answer(one, 1500, {"carried": 0.6, "1": 0.8})
    found = scene.experiments.status("tone")
    assert found.winner == "1"
    assert not found.ratio_alarm
    told = sentences(found)
    assert told[0].startswith("1 is better than carried in success by +2")
    assert told[0].endswith(", sure at 95 % however often you look.")
    assert told[1].startswith("Whether 1 and carried differ in latency is not sure:")
    after = scene.experiments.promote("tone", by="ann", now=9000.0)
    assert (after.status, after.promoted, after.ended_at) == ("promoted", "1", 9000.0)
    plan = scene.plans.current("shop").plan
    assert [(arm.version, arm.weight) for arm in plan.arms] == [("1", 1.0)]
    assert scene.experiments.status("tone").findings == found.findings


def test_shares_that_are_off_forbid_a_promotion_unless_it_is_forced(scene: Scene) -> None:
    one = scene.start()
    rows = dealt(scene.plans.current("shop"), 3000, {"carried": 0.5, "1": 0.9}, seed=2)
    scene.requests.write(row for number, row in enumerate(rows) if row["version"] == "1" or number % 4)
    found = scene.experiments.status(one.name)
    assert found.ratio_alarm
    assert scene.experiments.warnings(found)[0].startswith("The shares are not as planned: of 2,6")
    with pytest.raises(UsageError, match=r"do not get their shares.*--force"):
        scene.experiments.promote(one.name, by="ann", now=9000.0)
    assert scene.plans.current("shop").revision == one.revision
    scene.experiments.promote(one.name, force=True, by="ann", now=9000.0)
    with scene.store.database.read() as connection:
        last = list(audit_log.entries(connection))[-1]
    assert (last.action, '"forced":true' in last.details.replace(" ", "")) == ("experiment.promote", True)


def test_shares_as_planned_raise_no_alarm_and_one_arm_alone_does(scene: Scene) -> None:
    one = scene.start()
    rows = list(dealt(scene.plans.current("shop"), 600, {"carried": 0.5, "1": 0.5}, seed=3))
    scene.requests.write(rows[:300])
    assert not scene.experiments.status(one.name).ratio_alarm
    scene.requests.write(row for row in rows[300:] if row["version"] == "1")
    assert scene.experiments.status(one.name).ratio_alarm


def test_users_that_met_both_arms_count_for_none_and_are_told_of(scene: Scene) -> None:
    one = scene.start()
    scene.requests.write(
        [kept_row("1", version="carried", user="ann"), kept_row("2", version="1", user="ann", at=20.0)]
    )
    found = scene.experiments.status(one.name)
    assert (found.crossed, [arm.units for arm in found.arms]) == (1, [1, 0])
    assert all(sum(each.values) == 0 for each in found.findings)
    assert "were answered by several arms" in scene.experiments.warnings(found)[0]


def test_users_counted_by_request_are_told_of(scene: Scene) -> None:
    scene.start(by_request=True)
    scene.requests.write([kept_row("1", version="1", user="ann"), kept_row("2", version="1")])
    assert "1 requests name a user" in scene.experiments.warnings(scene.experiments.status("tone"))[0]


def test_equal_prices_are_no_sure_difference_by_their_last_digit(scene: Scene) -> None:
    scene.start(metrics=("cost",))
    for version, price in (("carried", 0.1), ("1", 0.1 + 1e-17 + 2e-17)):
        rows = [(f"{version} {n} {time}", f"{version} {n}") for n in range(60) for time in range(3)]
        scene.requests.write(kept_row(name, user=user, version=version, cost_usd=price) for name, user in rows)
    assert [found.verdict for found in scene.experiments.status("tone").findings] == ["open"]


def test_several_arms_share_the_level(scene: Scene) -> None:
    scene.store.save_version({"program": "shop:Route", "other": 1}, {}, now=0.0)
    thirds = {"carried": 0.4, "1": 0.3, "2": 0.3}
    one = scene.start(weights=thirds, metrics=("success", "cost"), alpha=0.1)
    assert one.level == pytest.approx(0.025)
    scene.answer(one, 3000, {"carried": 0.5, "1": 0.7, "2": 0.9})
    found = scene.experiments.status("tone")
    assert (found.winner, [each.arm for each in found.findings]) == ("2", ["1", "2", "1", "2"])


def test_an_arm_that_is_surely_worse_in_anything_is_promoted_only_by_force(scene: Scene) -> None:
    one = scene.start()
    scene.answer(one, 1500, {"carried": 0.8, "1": 0.6})
    with pytest.raises(UsageError, match="No arm of 'tone' is surely better in success; wait, or name one"):
        scene.experiments.promote("tone", by="ann", now=9000.0)
    with pytest.raises(UsageError, match="1 is surely worse than carried in success"):
        scene.experiments.promote("tone", "1", by="ann", now=9000.0)
    assert scene.experiments.promote("tone", "carried", by="ann", now=9000.0).promoted == "carried"


def test_rules_keep_their_arms_and_what_they_send_there_is_not_counted(scene: Scene) -> None:
    rule = Rule(name="team", header="x-team", value="red", arm="1")
    scene.deploy("shop", TrafficPlan.split({"carried": 0.9, "1": 0.1}, rules=(rule,), sticky_header="x-user"))
    one = scene.start()
    row = kept_row("1", version="1", details=RequestDetails(reason="rule:team", revision=one.revision))
    scene.requests.write([row])
    assert [arm.units for arm in scene.experiments.status("tone").arms] == [0, 0]
    scene.experiments.promote("tone", "carried", by="ann", now=9000.0)
    plan = scene.plans.current("shop").plan
    assert ([(arm.name, arm.weight) for arm in plan.arms], plan.rules) == ([("carried", 1.0), ("1", 0.0)], (rule,))
    assert plan.sticky_header == "x-user"


def test_a_change_of_the_traffic_ends_the_counting_and_is_told_of(scene: Scene) -> None:
    one = scene.start()
    scene.answer(one, 40, {"carried": 1.0, "1": 1.0})
    scene.plans.roll_back("shop", by="bob", at=50.0)
    scene.answer(one, 40, {"carried": 1.0, "1": 1.0}, seed=2)
    found = scene.experiments.status("tone")
    assert sum(arm.units for arm in found.arms) == 40
    assert scene.experiments.warnings(found)[-1].startswith("The traffic was changed: plan 3 is in force")


def test_an_experiment_that_was_stopped_counts_no_more_and_may_be_promoted_once(scene: Scene) -> None:
    one = scene.start()
    stopped = scene.experiments.stop("tone", by="ann", now=30.0)
    scene.answer(one, 40, {"carried": 1.0, "1": 1.0})
    assert (stopped.status, sum(arm.units for arm in scene.experiments.status("tone").arms)) == ("stopped", 20)
    assert scene.experiments.running_since() == {}
    with pytest.raises(UsageError, match="'tone' is over: it was stopped"):
        scene.experiments.stop("tone", by="ann", now=40.0)
    assert scene.experiments.promote("tone", "1", by="ann", now=50.0).ended_at == 30.0
    with pytest.raises(UsageError, match="'tone' is over: 1 was promoted"):
        scene.experiments.promote("tone", "1", by="ann", now=60.0)


def test_the_course_ends_with_what_is_known_now(scene: Scene) -> None:
    one = scene.start()
    assert scene.experiments.course("tone") == []
    scene.answer(one, 300, {"carried": 0.5, "1": 0.5})
    course = scene.experiments.course("tone", looks=5)
    assert [sum(arm.units for arm in found.arms) for _, found in course] == [60, 120, 180, 240, 300]
    assert course[-1][1] == scene.experiments.status("tone")
    assert len(scene.experiments.course("tone")) == 24


def test_what_is_not_known_is_null_in_json(scene: Scene) -> None:
    scene.start()
    found = scene.experiments.status("tone")
    told = as_json(found, sentences(found), scene.experiments.warnings(found))
    assert {(each["estimate"], each["low"], each["verdict"]) for each in told["findings"]} == {(None, None, "open")}
    assert all("nothing can be said yet" in each["told"] for each in told["findings"])


class TestMistakes:
    def test_names_that_are_not_there_are_told_with_near_ones(self, scene: Scene) -> None:
        with pytest.raises(UnknownNameError, match=r"Unknown endpoint 'shpo'\. Did you mean 'shop'"):
            scene.start(endpoint="shpo")
        with pytest.raises(UnknownNameError, match="version"):
            scene.start(weights={"carried": 0.5, "77": 0.5})
        scene.start()
        with pytest.raises(UnknownNameError, match=r"Unknown experiment 'tony'\. Did you mean 'tone'"):
            scene.experiments.status("tony")
        with pytest.raises(UsageError, match="has no arm '9'; it has carried, 1"):
            scene.experiments.promote("tone", "9", by="ann", now=6.0)

    def test_a_name_is_taken_for_ever_and_an_endpoint_has_one_running_experiment(self, scene: Scene) -> None:
        scene.start()
        with pytest.raises(UsageError, match="'tone' is there already"):
            scene.start()
        with pytest.raises(UsageError, match="The experiment 'tone' runs on shop; stop it"):
            scene.start("other")
        scene.experiments.stop("tone", by="ann", now=6.0)
        with pytest.raises(UsageError, match="'tone' is there already"):
            scene.start()
        assert scene.plans.current("shop").revision == 2

    def test_arms_are_different_versions(self, scene: Scene) -> None:
        with pytest.raises(UsageError, match="'latest' is 1 again"):
            scene.start(weights={"1": 0.5, "latest": 0.5})

    def test_a_start_that_the_traffic_refuses_leaves_no_experiment(self, scene: Scene) -> None:
        class Busy:
            current = scene.plans.current

            def put(self, asked: PlanRevision, *, expected: int | None = None) -> PlanRevision:
                return scene.plans.put(asked, expected=(expected or 0) - 1)

        asked = Experiment(name="tone", endpoint="shop", weights=HALVES)
        with pytest.raises(UsageError, match="was changed meanwhile"):
            Experiments(scene.store, Busy()).start(asked, by="ann", now=5.0)
        assert scene.experiments.listed() == []

    def test_all_that_is_wrong_with_an_experiment_is_told_at_once(self) -> None:
        told = {"weights": {"3": 0.5, "4": 0.6}, "metrics": ("sucess", "cost", "cost"), "alpha": 0.7}
        with pytest.raises(ConfigurationError) as found:
            Experiment(name="A b", endpoint="shop", **told)  # type: ignore[arg-type]  # as the test says
        for part in ("'A b' is no name", "sum to 1.1", "did you mean 'success'", "'cost' occurs twice", "got 0.7"):
            assert part in str(found.value)

    @pytest.mark.parametrize(
        ("weights", "told"),
        [({"3": 1.0}, "2 to 20 arms, got 1"), ({"3": -0.5, "4": 1.5}, "between 0 and 1, got -0.5"), ({}, "got 0")],
    )
    def test_weights_that_cannot_be_are_told(self, weights: dict[str, float], told: str) -> None:
        with pytest.raises(ConfigurationError, match=told):
            Experiment(name="tone", endpoint="shop", weights=weights)

    def test_arms_are_read_as_written_or_each_bad_part_is_told(self) -> None:
        assert read_weights("3=0.5, production=0.5") == {"3": 0.5, "production": 0.5}
        with pytest.raises(ConfigurationError, match=r"'3' is no version=weight; 'x=nan' is no .*; '4' occurs twice"):
            read_weights("3,x=nan,4=1,4=1")
