"""A sweep that is killed at random moments ends as the unbroken one: candidate, scores, decisions and bill.

A kill is a `BaseException` at a random statement of a random transaction, or at a random visit between two; then the
object is dropped, every connection closed, and a new one opens the same file.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from dspex_agents.database import Database
from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination import OPTIMIZERS, SweepStore, make_optimizer

Toy = Any  # the class of the `toy` fixture in conftest.py
GONE = Failure("infrastructure", "HostDied", "process 7 died", retryable=True)


class Killed(BaseException):
    """The driver is gone."""


@contextmanager
def mortal(database: Database, dies_at: int) -> Iterator[None]:
    """Kill the driver at the statement of that number, counted from here; the transaction it is in is lost."""
    left = [dies_at]

    def count(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    sa.event.listen(database.engine, "before_cursor_execute", count)
    sa.event.listen(database.engine, "commit", count)
    try:
        yield
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", count)
        sa.event.remove(database.engine, "commit", count)


def bill(connection: sa.Connection, evaluated: Any, work: Any) -> None:
    values = [{"trial": work.trial, "row": row.row, "usd": row.cost_usd} for row in evaluated.rows]
    connection.execute(sa.text("INSERT INTO bill VALUES (:trial, :row, :usd)"), values)


def prepare(toy: Toy) -> None:
    with toy.store.database.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE bill (trial INTEGER, row INTEGER, usd FLOAT)"))


def billed(toy: Toy) -> list[Any]:
    with toy.store.database.read() as connection:
        query = "SELECT trial, row, usd FROM bill ORDER BY trial, row"
        return [tuple(row) for row in connection.execute(sa.text(query))]


def ended(toy: Toy, result: Any) -> tuple[Any, ...]:
    return result.best, result.trials, result.cost_usd, result.status, toy.decisions(), billed(toy)


@pytest.mark.parametrize("optimizer", ["bootstrap", "random", "genetic", "racing"])
def test_a_driver_killed_at_20_random_moments_ends_as_if_it_had_not(
    make_toy: Callable[[], Toy], optimizer: str
) -> None:
    whole, toy = make_toy(), make_toy()
    for one in (whole, toy):
        one.optimizer, one.trials = optimizer, 16
        prepare(one)
    sweep = whole.sweep(on_rows=bill)
    sweep.open()
    unbroken = ended(whole, whole.simulate(sweep, workers=3))
    rng, kills, result = random.Random(f"{optimizer} killed"), 0, None
    while result is None:
        dies_at = rng.randint(1, 60) if kills < 20 else 10**9
        try:
            with mortal(toy.store.database, dies_at):
                sweep = toy.sweep(on_rows=bill)
                sweep.open()
                result = toy.simulate(sweep, workers=3, seed=kills)
        except Killed:
            kills += 1
            url = toy.store.database.url
            toy.store.database.close()
            toy.store = SweepStore(Database(url))
    assert kills == 20
    assert ended(toy, result) == unbroken
    # the answer that the driver was about to record is lost with it: one unit, of at most 4 rows
    assert len(toy.evaluated) - len(set(toy.evaluated)) <= 4 * kills
    toy.store.database.close()


@pytest.mark.parametrize("seed", range(3))
def test_driver_and_workers_killed_at_random_change_no_score_and_no_decision(
    make_toy: Callable[[], Toy], seed: int
) -> None:
    whole, toy = make_toy(), make_toy()
    for one in (whole, toy):
        one.optimizer, one.trials = "genetic", 16
        prepare(one)
    sweep = whole.sweep(on_rows=bill)
    sweep.open()
    unbroken = ended(whole, whole.simulate(sweep, workers=4))
    rng = random.Random(seed)

    def lose(work: Work, worker: str) -> Outcome | None:
        return Outcome(work.id, error=GONE, worker=worker) if rng.random() < 0.2 else None

    toy.lost_with = lose
    result, kills = None, 0
    while result is None:
        try:
            with mortal(toy.store.database, rng.randint(20, 90) if kills < 10 else 10**9):
                sweep = toy.sweep(on_rows=bill)
                sweep.open()
                result = toy.simulate(sweep, workers=4, seed=kills)
        except Killed:
            kills += 1
    assert kills == 10
    assert ended(toy, result) == unbroken


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_a_run_that_changes_its_number_of_workers_with_every_life_ends_the_same(
    make_toy: Callable[[], Toy], workers: int
) -> None:
    whole, toy = make_toy(), make_toy()
    for one in (whole, toy):
        one.optimizer, one.trials = "genetic", 16
        prepare(one)
    unbroken = ended(whole, whole.run(on_rows=bill, max_pending_trials=4))
    crews, result, until = iter([workers, 3, 1, 5, 2, 7]), None, 1002.0
    for crew in crews:
        sweep = toy.sweep(on_rows=bill, workers=crew, chunk=crew + 1, max_pending_trials=4)
        sweep.open()
        result = toy.simulate(sweep, workers=crew, seed=crew, until=until)
        if result is not None:
            break
    if result is None:
        result = toy.run(on_rows=bill)
    assert ended(toy, result) == unbroken


def test_an_extended_run_killed_afterwards_keeps_its_extension(make_toy: Callable[[], Toy]) -> None:
    longer, toy = make_toy(), make_toy()
    longer.optimizer = toy.optimizer = "random"
    longer.trials = 20
    unbroken = longer.run()

    def remake(trials: int) -> Any:
        return make_optimizer("random", seed=toy.seed, max_trials=trials)

    result, kills, rng = None, 0, random.Random(4)
    sweep = toy.sweep(remake=remake)
    sweep.open()
    sweep.extend(trials=20)
    while result is None:
        try:
            with mortal(toy.store.database, rng.randint(10, 60) if kills < 8 else 10**9):
                sweep = toy.sweep(remake=remake)
                sweep.open()
                result = toy.simulate(sweep, workers=2, seed=kills)
        except Killed:
            kills += 1
    assert result.trials == unbroken.trials


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_finds_the_same_with_8_workers_and_in_the_hands_of_one_driver_after_another(
    make_toy: Callable[[], Toy], optimizer: str
) -> None:
    def prepared() -> Toy:
        toy = make_toy()
        toy.optimizer, toy.trials = optimizer, 60 if optimizer == "grid" else 20
        prepare(toy)
        return toy

    calm, crowded, broken = prepared(), prepared(), prepared()
    found = ended(calm, calm.run(on_rows=bill))
    sweep = crowded.sweep(on_rows=bill, hedge=None)  # a second copy is paid for as well
    sweep.open()
    assert ended(crowded, crowded.simulate(sweep, workers=8, seed=8)) == found
    result, lives = None, 0
    while result is None:
        sweep = broken.sweep(on_rows=bill)
        sweep.open()
        result, lives = broken.drive(sweep, crew=3, order=lives, pushes=9), lives + 1
    assert lives > 2
    assert ended(broken, result) == found
