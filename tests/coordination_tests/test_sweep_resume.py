"""A sweep whose driver dies: at every point, more than once, inside a transaction; and what may not be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from dspex_agents.database import Database
from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination import (
    Bool,
    BootstrapDemos,
    Demos,
    Float,
    JournalError,
    RandomSearch,
    ResumeError,
    SweepStore,
    Told,
)

Toy = Any  # the class of the `toy` fixture in conftest.py


def resumed(toy: Toy, **options: Any) -> Any:
    """Finish the sweep in a new object and check that no recorded row was evaluated again."""
    before, toy.evaluated = toy.recorded(), []
    result = toy.run(**options)
    assert not before & set(toy.evaluated), "a recorded row was evaluated again"
    assert len(set(toy.evaluated)) == len(toy.evaluated)
    return result


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("optimizer", ["bootstrap", "random"])
def test_a_crash_after_any_number_of_pushes_changes_nothing(
    make_toy: Callable[[], Toy], workers: int, optimizer: str
) -> None:
    whole = make_toy()
    whole.optimizer = optimizer
    unbroken = whole.run(crew=workers)
    toy, points = make_toy(), 0
    toy.optimizer = optimizer
    while True:
        name = f"crash-{points}"
        sweep = toy.sweep(run_id=name)
        sweep.open()
        if toy.drive(sweep, crew=workers, pushes=points) is not None:
            break
        del sweep  # the driver is gone, with units in flight
        before, toy.evaluated = toy.recorded(name), []
        again = toy.run(run_id=name, crew=workers)
        assert not before & set(toy.evaluated)
        assert (again.best, again.trials, again.cost_usd) == (unbroken.best, unbroken.trials, unbroken.cost_usd)
        points += 1
    assert points >= 9


def test_a_driver_that_dies_after_every_single_push_still_gets_there(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    lives, result = 0, None
    while result is None:
        sweep = toy.sweep()
        sweep.open()
        result = toy.drive(sweep, crew=2, order=lives, pushes=1)
        lives += 1
    assert result == unbroken
    assert lives > 10
    assert len(set(toy.evaluated)) == sum(len(trial.rows) for trial in unbroken.trials)


def test_a_driver_that_dies_with_work_handed_out_hands_it_out_again(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    sweep = toy.sweep()
    sweep.open()
    first = [unit.id for unit in sweep.pull(3, 1.0)]
    again = toy.sweep()
    again.open()
    assert [unit.id for unit in again.pull(3, 1.0)] == first
    assert resumed(toy) == unbroken


class DiesOnTell(BootstrapDemos):
    """A driver killed between the commit of a batch and the optimizer's hearing of it."""

    def tell(self, told: Told) -> None:
        if told.number == 3:
            raise KeyboardInterrupt
        super().tell(told)


def test_a_crash_between_commit_and_tell_loses_nothing(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    with pytest.raises(KeyboardInterrupt):
        toy.run(optimizer=DiesOnTell())
    assert any(event.kind == "tell" and event.trial == 3 for event in toy.store.events("run-1"))
    assert resumed(toy) == unbroken


def test_a_crash_inside_the_transaction_leaves_no_trace_of_the_batch(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    units: list[int] = []

    def die(connection: sa.Connection, evaluated: Any, work: Any) -> None:
        if len(units) == 6:
            raise KeyboardInterrupt
        units.append(len(work.rows))

    sweep = toy.sweep(on_rows=die)
    sweep.open()
    with pytest.raises(KeyboardInterrupt):
        toy.drive(sweep)
    assert len(toy.recorded()) == sum(units) < len(toy.evaluated)
    assert resumed(toy) == unbroken


def test_resuming_a_finished_sweep_evaluates_nothing(toy: Toy) -> None:
    first = toy.run()
    toy.evaluated = []
    sweep = toy.sweep()
    sweep.open()
    assert sweep.finished()
    assert sweep.pull(10, 1.0) == []
    assert sweep.result() == first
    assert toy.evaluated == []


def test_another_chunk_size_on_resumption_evaluates_only_what_is_missing(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    sweep = toy.sweep(chunk=4)
    sweep.open()
    toy.drive(sweep, pushes=5)
    again = resumed(toy, chunk=3)
    assert again == unbroken


def test_more_trials_on_resumption_extend_the_same_search(make_toy: Callable[[], Toy]) -> None:
    longer, toy = make_toy(), make_toy()
    longer.trials = 11
    unbroken = longer.run()
    toy.run()
    toy.trials = 11
    assert resumed(toy) == unbroken


def test_fewer_trials_than_recorded_are_refused(toy: Toy) -> None:
    toy.run()
    toy.trials = 4
    with pytest.raises(ResumeError, match="now stops before it"):
        toy.run()


def test_a_failed_trial_is_still_failed_after_resumption(make_toy: Callable[[], Toy]) -> None:
    def fault(work: Work) -> Outcome | None:
        bad = work.id == "2:validation:4-7"
        return Outcome(work.id, error=Failure("program", "E", "x", retryable=False)) if bad else None

    whole, toy = make_toy(), make_toy()
    whole.fault = toy.fault = fault
    unbroken = whole.run()
    sweep = toy.sweep()
    sweep.open()
    toy.drive(sweep, pushes=9)
    assert resumed(toy) == unbroken
    assert unbroken.trials[2].failed == "E: x"


def other_fingerprint(toy: Toy) -> dict[str, Any]:
    return {"fingerprint": json.dumps({"program": "p2", "data": "d1"})}


def other_space(toy: Toy) -> dict[str, Any]:
    toy.variables = {"temperature": Float(0.0, 1.5), "demos": Demos(max=4), "polite": Bool()}
    return {}


def other_data(toy: Toy) -> dict[str, Any]:
    toy.train_rows = 13
    return {}


def other_seed(toy: Toy) -> dict[str, Any]:
    toy.seed = 8
    return {}


def other_optimizer(toy: Toy) -> dict[str, Any]:
    toy.optimizer = "random"
    return {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (other_fingerprint, ["program: was 'p1', is now 'p2'"]),
        (
            other_space,
            [
                "space: variable 'polite' was added",
                "space: variable 'terse' was removed",
                "space: variable 'temperature' changed: default was 0.5, is now 0.75, high was 1.0, is now 1.5",
            ],
        ),
        (other_data, ["train_rows: was 12, is now 13"]),
        (other_seed, ["seed: was 7, is now 8"]),
        (other_optimizer, ["optimizer: was 'bootstrap', is now 'random'"]),
    ],
)
def test_resuming_something_else_is_refused_and_says_what_changed(toy: Toy, change: Any, expected: list[str]) -> None:
    toy.run()
    with pytest.raises(ResumeError) as caught:
        toy.run(**change(toy))
    listed = [line.strip().removeprefix("- ") for line in str(caught.value).splitlines() if line.startswith("  - ")]
    assert listed == expected


class OtherDraws(RandomSearch):
    """The same name, other candidates: a changed optimizer that no fingerprint shows."""

    def ask(self, pending: int) -> Any:
        if self._context is not None:
            self._context = replace(self._context, seed=self._context.seed + 1)
        return super().ask(pending)


def test_an_optimizer_that_now_asks_something_else_is_refused(toy: Toy) -> None:
    toy.optimizer = "random"
    toy.run()
    with pytest.raises(ResumeError, match=r"trial 1 was .* now asks for"):
        toy.run(optimizer=OtherDraws())


def test_a_journal_with_a_missing_entry_is_refused(toy: Toy) -> None:
    toy.run()
    with toy.store.database.transaction() as connection:
        connection.execute(sa.text("DELETE FROM sweep_events WHERE seq = 2"))
    with pytest.raises(JournalError, match="has gaps"):
        toy.run()


def test_a_journal_with_missing_rows_is_refused(toy: Toy) -> None:
    toy.run()
    with toy.store.database.transaction() as connection:
        connection.execute(sa.text("DELETE FROM sweep_rows WHERE trial = 2 AND row = 3"))
    with pytest.raises(JournalError, match="rows of the finished trial 2 are missing"):
        toy.run()


def test_two_drivers_of_one_sweep_cannot_both_write(toy: Toy) -> None:
    first, second = toy.sweep(), toy.sweep()
    first.open()
    second.open()
    unit = first.pull(1, 1.0)[0]
    assert second.pull(1, 1.0)[0].id == unit.id
    first.push([toy.evaluate(unit)], 2.0)
    with pytest.raises(JournalError, match="Another process is writing to sweep 'run-1'"):
        second.push([toy.evaluate(unit)], 2.0)


def test_a_dead_driver_leaves_nothing_locked(toy: Toy) -> None:
    sweep = toy.sweep()
    sweep.open()
    toy.drive(sweep, pushes=2)
    other = Database(toy.store.database.url)  # connections of another process
    try:
        with other.transaction() as connection:
            connection.execute(sa.text("PRAGMA busy_timeout=0"))
            connection.execute(sa.text("UPDATE sweeps SET updated_at = 5"))
        assert SweepStore(other).load("run-1").updated_at == 5
    finally:
        other.close()


def test_the_stored_identity_names_program_data_space_seed_and_optimizer(toy: Toy) -> None:
    toy.run()
    record = toy.store.load("run-1")
    assert record.fingerprint == {"program": "p1", "data": "d1"}
    assert set(record.config) == {
        "space",
        "seed",
        "optimizer",
        "train_rows",
        "validation_rows",
        "objectives",
        "bounds",
        "early",
        "earlier",
        "reproducible",
        "max_pending_trials",
        "max_trials",
        "budget_usd",
        "stop",
    }
