"""A sweep run whole: results, budget, cancel, failures, bad answers, the store."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from dspex_agents.roles.plan import Failure, Outcome, Plan, Work
from dspex_coordination import (
    Ask,
    Candidate,
    Demos,
    OptimizerError,
    RandomSearch,
    RowResult,
    RowsEvaluated,
    SearchContext,
    SweepError,
    UnknownSweepError,
)

Toy = Any  # the class of the `toy` fixture in conftest.py
lost = Failure("infrastructure", "HostDied", "process 7 died", retryable=True)
broken = Failure("program", "KeyError", "'intent'", retryable=False)


def test_a_sweep_is_a_plan(toy: Toy) -> None:
    plan: Plan = toy.sweep()
    plan.open()
    toy.drive(plan)
    assert plan.finished()


def test_every_trial_is_evaluated_on_each_of_its_rows_once(toy: Toy) -> None:
    result = toy.run(crew=3)
    assert (result.status, len(result.trials)) == ("finished", 7)
    assert sorted(toy.evaluated) == sorted((trial.number, row) for trial in result.trials for row in trial.rows)
    assert [trial.split for trial in result.trials] == ["validation", "train"] + ["validation"] * 5
    assert result.best in result.trials
    validation = [trial for trial in result.trials if trial.split == "validation"]
    assert result.best.mean == max(trial.mean for trial in validation)
    assert all(trial.mean == sum(trial.scores) / len(trial.rows) for trial in validation)
    assert result.cost_usd == pytest.approx(sum(trial.cost_usd for trial in result.trials))


@pytest.mark.parametrize("optimizer", ["bootstrap", "random"])
def test_1_2_and_8_workers_give_the_identical_result(make_toy: Callable[[], Toy], optimizer: str) -> None:
    results = []
    for workers, order in ((1, 0), (2, 1), (8, 2), (8, 3)):
        toy = make_toy()
        toy.optimizer = optimizer
        results.append(toy.run(crew=workers, order=order))
    assert all(result == results[0] for result in results)


def test_no_more_trials_are_open_than_allowed_and_no_unit_is_handed_out_twice(toy: Toy) -> None:
    sweep = toy.sweep(max_pending_trials=2)
    sweep.open()
    units = [*sweep.pull(2, 1.0), *sweep.pull(100, 1.0)]
    assert {unit.payload.trial for unit in units} == {0, 1}
    assert len({unit.id for unit in units}) == len(units) == 3 + 3
    assert sweep.pull(100, 1.0) == []
    assert not sweep.finished()


def test_equal_rows_of_all_trials_share_an_affinity(toy: Toy) -> None:
    toy.optimizer = "random"
    sweep = toy.sweep()
    sweep.open()
    places: dict[str | None, set[tuple[int, ...]]] = {}
    for unit in sweep.pull(100, 1.0):
        places.setdefault(unit.affinity, set()).add(unit.payload.rows)
        assert unit.cost_hint == len(unit.payload.rows)
    assert places == {
        "validation:0": {(0, 1, 2, 3)},
        "validation:4": {(4, 5, 6, 7)},
        "validation:8": {(8, 9)},
    }


def test_rows_and_what_on_rows_writes_are_one_transaction(toy: Toy) -> None:
    with toy.store.database.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE calls (trial INTEGER, row INTEGER)"))

    def write(connection: sa.Connection, evaluated: RowsEvaluated, work: Any) -> None:
        assert len(evaluated.rows) == len(work.rows)
        values = [{"trial": work.trial, "row": row} for row in work.rows]
        connection.execute(sa.text("INSERT INTO calls VALUES (:trial, :row)"), values)
        if work.trial == 2:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        toy.run(on_rows=write)
    with toy.store.database.read() as connection:
        written = {(call.trial, call.row) for call in connection.execute(sa.text("SELECT trial, row FROM calls"))}
    assert written == toy.recorded()
    assert {trial for trial, _ in written} == {0, 1}


def test_a_budget_stops_new_trials_and_lets_open_ones_finish(toy: Toy) -> None:
    whole = toy.run(run_id="whole", max_pending_trials=1)
    bound = whole.trials[0].cost_usd + whole.trials[1].cost_usd + 0.01
    result = toy.run(run_id="bounded", max_pending_trials=1, budget_usd=bound)
    assert (result.status, result.trials) == ("budget", whole.trials[:3])
    assert toy.store.load("bounded").status == "budget"
    more = toy.run(run_id="bounded", max_pending_trials=1)
    assert (more.status, more.trials) == ("finished", whole.trials)


def test_cancel_hands_out_nothing_more_and_records_what_is_in_flight(toy: Toy) -> None:
    sweep = toy.sweep()
    sweep.open()
    units = sweep.pull(4, 1.0)
    sweep.cancel("the user pressed Ctrl-C")
    assert sweep.pull(4, 1.0) == []
    assert not sweep.finished()
    sweep.push([toy.evaluate(units[0])], 2.0)
    assert toy.store.load("run-1").status == "cancelled"
    assert not sweep.finished()
    sweep.push([toy.evaluate(unit) for unit in units[1:]], 2.0)
    assert sweep.finished()
    assert sweep.result().status == "cancelled"
    assert len(toy.recorded()) == sum(len(unit.payload.rows) for unit in units)
    assert toy.store.load("run-1").status == "cancelled"
    notes = [event.data for event in toy.store.events("run-1") if event.kind == "cancel"]
    assert notes == [{"reason": "the user pressed Ctrl-C"}]


def test_a_cancelled_sweep_resumes_to_the_unbroken_result(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    sweep = toy.sweep()
    sweep.open()
    toy.drive(sweep, pushes=3)
    sweep.cancel("pause")
    assert sweep.progress()["status"] == "running"  # one unit is still out
    sweep.close()
    assert toy.run() == unbroken
    assert toy.store.load("run-1").status == "finished"


def test_a_unit_that_fails_as_a_program_fails_its_trial_and_no_other(toy: Toy) -> None:
    toy.fault = lambda work: Outcome(work.id, error=broken) if work.id == "3:validation:4-7" else None
    result = toy.run(crew=2)
    failed = result.trials[3]
    assert failed.failed == "KeyError: 'intent'"
    assert (failed.mean, failed.scores, failed.rows) == (None, (), ())
    assert all(trial.failed is None for trial in result.trials if trial.number != 3)
    assert len(result.trials) == 7
    assert result.best is not None
    assert result.best.number != 3


def test_rows_of_a_failed_trial_still_count_in_the_bill(toy: Toy) -> None:
    sweep = toy.sweep()
    sweep.open()
    first, second, third = sweep.pull(3, 1.0)
    sweep.push([Outcome(first.id, error=broken)], 2.0)
    sweep.push([toy.evaluate(second), Outcome(third.id, error=lost)], 2.0)
    assert sweep.progress()["rows_done"] == 4
    assert sweep.progress()["cost_usd"] == pytest.approx(sum(0.1 + row / 7 for row in second.payload.rows))
    result = toy.drive(sweep)
    assert result.trials[0].failed is not None
    assert result.trials[0].cost_usd > 0


def test_a_sweep_in_which_every_trial_fails_ends_as_failed_with_the_reason(toy: Toy) -> None:
    toy.fault = lambda work: Outcome(work.id, error=broken)
    result = toy.run()
    assert (result.best, result.status, len(result.trials)) == (None, "failed", 7)
    assert result.stopped_by == "no trial has a score; trial 0: KeyError: 'intent'"
    record = toy.store.load("run-1")
    assert (record.status, record.note) == ("failed", result.stopped_by)


def test_a_row_error_is_a_recorded_score_of_zero(toy: Toy) -> None:
    def fault(work: Work) -> Outcome:
        rows = tuple(RowResult(row, 0.0, None, error="ValueError: no") for row in work.payload.rows)
        return Outcome(work.id, RowsEvaluated(rows))

    toy.fault = fault
    result = toy.run()
    assert result.best is not None
    assert (result.best.number, result.best.mean) == (0, 0.0)
    assert {row.result.error for row in toy.store.rows("run-1")} == {"ValueError: no"}


def test_an_outcome_that_comes_twice_counts_once(toy: Toy) -> None:
    sweep = toy.sweep()
    sweep.open()
    unit = sweep.pull(1, 1.0)[0]
    outcome = toy.evaluate(unit)
    sweep.push([outcome, outcome], 2.0)
    sweep.push([outcome], 3.0)
    assert sweep.progress()["rows_done"] == len(unit.payload.rows)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (lambda _: Outcome("99:validation:0"), "never handed out a unit '99:validation:0'"),
        (lambda unit: Outcome(unit.id, {"rows": []}), "must answer RowsEvaluated, got dict"),
        (
            lambda unit: Outcome(unit.id, RowsEvaluated((RowResult(0, 1.0, None),))),
            r"asked for rows \[0, 1, 2, 3\], the answer has \[0\]",
        ),
    ],
)
def test_an_answer_that_does_not_fit_its_unit_is_refused(toy: Toy, outcome: Any, message: str) -> None:
    sweep = toy.sweep()
    sweep.open()
    unit = sweep.pull(1, 1.0)[0]
    with pytest.raises(SweepError, match=message):
        sweep.push([outcome(unit)], 2.0)
    assert toy.recorded() == set()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"score": math.nan, "output": None}, "score must be finite"),
        ({"score": 1.0, "output": {1, 2}}, "output is no JSON value"),
        ({"score": 1.0, "output": None, "cost_usd": -1.0}, "cost_usd must be finite and not negative"),
    ],
)
def test_a_row_result_that_cannot_be_recorded_is_refused_where_it_is_made(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=f"Row 5: .*{message}"):
        RowResult(5, **bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run_id": ""}, "1 to 100 characters"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"max_pending_trials": 0}, "max_pending_trials must be at least 1, got 0"),
        ({"budget_usd": 0.0}, "budget_usd must be above 0"),
        ({"fingerprint": "abc"}, "text of a JSON object with named parts"),
    ],
)
def test_bad_settings_are_refused_at_once(toy: Toy, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        toy.sweep(**options)


def test_calls_before_open_and_a_result_before_the_end_are_refused(toy: Toy) -> None:
    sweep = toy.sweep()
    with pytest.raises(SweepError, match="open"):
        sweep.pull(1, 1.0)
    sweep.open()
    with pytest.raises(SweepError, match="not finished yet"):
        sweep.result()


class Stray(RandomSearch):
    """Breaks the optimizer contract in one way."""

    def __init__(self, stray: Ask | None) -> None:
        super().__init__()
        self._stray = stray

    def ask(self, pending: int) -> Ask | None:
        return self._stray


def test_an_optimizer_that_breaks_its_contract_is_named(toy: Toy) -> None:
    default = toy.context().space.default()
    cases = [
        (None, "waits for a pending trial, but none is pending"),
        (Ask(Candidate({"temperature": 9})), "candidate outside the space"),
        (Ask(default, "validation", (0, 10)), "different rows from 0 to 9"),
        (Ask(default, "train", ()), "different rows from 0 to 11"),
    ]
    for number, (ask, message) in enumerate(cases):
        with pytest.raises(OptimizerError, match=message):
            toy.sweep(run_id=f"stray-{number}", optimizer=Stray(ask)).open()


def test_progress_is_json_and_tells_where_the_sweep_stands(toy: Toy) -> None:
    sweep = toy.sweep()
    sweep.open()
    assert sweep.progress() == {
        "run_id": "run-1",
        "trials_done": 0,
        "trials_total": 7,
        "rows_done": 0,
        "best_score": None,
        "baseline_score": None,
        "cost_usd": 0.0,
        "wasted_usd": 0.0,
        "isolated": [],
        "stopped_by": None,
        "percent": 0.0,
        "status": "running",
    }
    result = toy.drive(sweep)
    assert result is not None
    after = json.loads(json.dumps(sweep.progress()))
    assert (after["trials_done"], after["status"]) == (7, "finished")
    assert after["rows_done"] == len(toy.evaluated)
    assert after["baseline_score"] == result.trials[0].mean
    assert after["best_score"] == result.best.mean
    assert after["cost_usd"] == pytest.approx(result.cost_usd)


def test_an_exhausted_space_ends_the_sweep_early(toy: Toy) -> None:
    toy.variables = {"demos": Demos(max=1, select=["nearest"])}
    toy.optimizer, toy.trials = "random", 50
    sweep = toy.sweep()
    sweep.open()
    result = toy.drive(sweep)
    assert (len(result.trials), result.status) == (1, "finished")
    assert sweep.progress()["trials_total"] == 1


def test_the_store_lists_sweeps_and_offers_near_matches(toy: Toy) -> None:
    result = toy.run(run_id="banking-1")
    toy.run(run_id="weather-1")
    listed = {record.run_id: record for record in toy.store.list_sweeps()}
    assert set(listed) == {"banking-1", "weather-1"}
    record = toy.store.load("banking-1")
    assert record == listed["banking-1"]
    assert (record.status, record.trials, record.rows) == ("finished", 7, len(toy.recorded("banking-1")))
    assert record.cost_usd == pytest.approx(result.cost_usd)
    assert record.config["optimizer"] == "bootstrap"
    with pytest.raises(UnknownSweepError, match=r"No sweep 'bankin-1' .* Did you mean 'banking-1'"):
        toy.store.load("bankin-1")


def test_a_search_context_is_what_the_optimizer_starts_with(toy: Toy) -> None:
    seen: list[SearchContext] = []

    class Watcher(RandomSearch):
        def start(self, context: SearchContext) -> None:
            seen.append(context)
            super().start(context)

    toy.sweep(optimizer=Watcher()).open()
    assert seen == [toy.context()]
