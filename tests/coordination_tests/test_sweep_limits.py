"""Budgets and stop rules: alone, combined, as JSON, and what they do to a sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dspex_agents.clock import ManualClock
from dspex_coordination import SweepError
from dspex_coordination.sweep import (
    CallsSpent,
    CostSpent,
    NoImprovement,
    RowsDone,
    ScoreReached,
    StopRule,
    TimeSpent,
    TrialsDone,
    all_of,
    any_of,
)
from dspex_coordination.sweep.stop_rules import Standing, Stop

Toy = Any  # the class of the `toy` fixture in conftest.py

REACHED: list[tuple[StopRule, Standing, Standing, Stop]] = [
    (
        NoImprovement(3),
        Standing(since_improvement=2),
        Standing(since_improvement=3),
        Stop("NoImprovement(trials=3)", "finished"),
    ),
    (ScoreReached(0.8), Standing(), Standing(best_score=0.8), Stop("ScoreReached(score=0.8)", "finished")),
    (ScoreReached(-1), Standing(best_score=-1.5), Standing(best_score=0.0), Stop("ScoreReached(score=-1)", "finished")),
    (TrialsDone(5), Standing(trials=4), Standing(trials=5), Stop("TrialsDone(trials=5)", "budget")),
    (RowsDone(5), Standing(rows=4), Standing(rows=6), Stop("RowsDone(rows=5)", "budget")),
    (CallsSpent(5), Standing(calls=4), Standing(calls=5), Stop("CallsSpent(calls=5)", "budget")),
    (CostSpent(0.5), Standing(cost_usd=0.49), Standing(cost_usd=0.5), Stop("CostSpent(usd=0.5)", "budget")),
    (TimeSpent(60), Standing(seconds=59.9), Standing(seconds=60.0), Stop("TimeSpent(seconds=60)", "budget")),
]


@pytest.mark.parametrize(("rule", "before", "after", "stop"), REACHED)
def test_a_rule_is_reached_at_its_number_and_says_so(
    rule: StopRule, before: Standing, after: Standing, stop: Stop
) -> None:
    assert rule.reached(before) is None
    assert rule.reached(after) == stop


def test_rules_combine_and_flatten() -> None:
    either, both = TrialsDone(5) | ScoreReached(0.8), TrialsDone(5) & ScoreReached(0.8)
    good = Standing(best_score=0.9)
    assert either.reached(good) == Stop("ScoreReached(score=0.8)", "finished")
    assert both.reached(good) is None
    done = Standing(trials=5, best_score=0.9)
    assert both.reached(done) == Stop("TrialsDone(trials=5) and ScoreReached(score=0.8)", "budget")
    assert (TrialsDone(1) | TrialsDone(2) | TrialsDone(3)) == any_of(TrialsDone(1), TrialsDone(2), TrialsDone(3))
    assert all_of(TrialsDone(1)) != any_of(TrialsDone(1))


@pytest.mark.parametrize("rule", [*(rule for rule, *_ in REACHED), (TrialsDone(5) | CostSpent(1)) & TimeSpent(9.5)])
def test_a_rule_comes_back_from_json(rule: StopRule) -> None:
    assert StopRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "trails", "trials": 3}, "No stop rule is .*Did you mean 'trials'"),
        ([1], r"No stop rule is \[1\]"),
        ({"kind": "trials", "rows": 3}, "'trials' cannot be made of"),
        ({"kind": "trials", "trials": 0}, "trials must be a number above 0, got 0"),
        ({"kind": "any", "rules": []}, "at least one"),
    ],
)
def test_what_is_no_rule_is_refused(data: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        StopRule.from_json(data)


@pytest.mark.parametrize("bad", [True, float("nan"), "3", -1])
def test_a_number_that_cannot_be_is_refused(bad: Any) -> None:
    with pytest.raises(SweepError, match=r"must be a (number above 0|finite number)"):
        CostSpent(bad)


# in a sweep -------------------------------------------------------------------------------------------------------
def test_the_rule_that_stopped_it_is_in_the_result_and_in_the_store(toy: Toy) -> None:
    result = toy.run(stop=TrialsDone(3), max_pending_trials=1)
    assert (result.status, result.stopped_by, len(result.trials)) == ("budget", "TrialsDone(trials=3)", 3)
    record = toy.store.load("run-1")
    assert (record.status, record.note) == ("budget", "TrialsDone(trials=3)")
    assert StopRule.from_json(record.config["stop"]) == TrialsDone(3)


def test_trials_that_are_open_when_a_rule_is_reached_are_finished_and_told(toy: Toy) -> None:
    toy.optimizer = "random"
    result = toy.run(stop=TrialsDone(1), max_pending_trials=3)
    assert len(result.trials) == 3


def test_once_reached_a_rule_stays_so_whatever_open_trials_score(make_toy: Callable[[], Toy]) -> None:
    """Without the latch a better trial among the open ones would start the search again."""
    toy = make_toy()
    toy.optimizer, toy.trials = "random", 40
    result = toy.run(stop=NoImprovement(2), max_pending_trials=4)
    assert len(result.trials) < 40
    again = toy.sweep(stop=NoImprovement(2), max_pending_trials=4)
    again.open()
    assert again.result() == result


def test_another_rule_on_resumption_goes_on(toy: Toy) -> None:
    whole = toy.run(run_id="whole", max_pending_trials=1)
    toy.run(stop=TrialsDone(3), max_pending_trials=1)
    more = toy.run(stop=TrialsDone(5), max_pending_trials=1)
    assert more.trials == whole.trials[:5]
    assert toy.run(max_pending_trials=1).trials == whole.trials


def test_a_time_budget_counts_through_resumptions_and_not_while_nobody_drives(toy: Toy) -> None:
    toy.optimizer, toy.trials = "random", 100
    clock = ManualClock(1000.0)
    for life in range(2):
        sweep = toy.sweep(stop=TimeSpent(30), clock=clock)
        sweep.open()
        for _ in range(4):
            clock.advance(5.0)
            sweep.revisit(clock.now())
            sweep.push([toy.evaluate(work) for work in sweep.pull(1, clock.now())], clock.now())
        assert sweep.finished() is False
        if life == 0:
            assert toy.store.load("run-1").active_s == pytest.approx(15.0)
            clock.advance(10_000.0)
    for _ in range(3):
        clock.advance(5.0)
        sweep.revisit(clock.now())
    toy.drive(sweep)
    assert sweep.result().stopped_by == "TimeSpent(seconds=30)"
    assert len(sweep.result().trials) < 100


def test_the_bill_of_a_budget_is_within_the_trials_that_may_be_open(make_toy: Callable[[], Toy]) -> None:
    toy = make_toy()
    toy.optimizer, toy.trials = "random", 50
    result = toy.run(budget_usd=30.0, max_pending_trials=2, crew=8, order=3)
    costs = [trial.cost_usd for trial in result.trials]
    assert result.stopped_by == "CostSpent(usd=30)"
    assert sum(costs[:-2]) < 30.0 <= sum(costs)
