"""What is lost to infrastructure: tried elsewhere, never a score; a poison row is left out; an outage ends the run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination import SweepError
from dspex_coordination.sweep.losses import Losses
from dspex_coordination.sweep.units import Unit

Toy = Any  # the class of the `toy` fixture in conftest.py
GONE = Failure("infrastructure", "HostDied", "process 7 died", retryable=True)


def gone(work: Work, worker: str) -> Outcome:
    return Outcome(work.id, error=GONE, worker=worker)


def simulated(toy: Toy, *, workers: int = 4, seed: int = 0, **options: Any) -> Any:
    sweep = toy.sweep(**options)
    sweep.open()
    return toy.simulate(sweep, workers=workers, seed=seed)


# the pure part ----------------------------------------------------------------------------------------------------
def unit(*rows: int, trial: int = 0) -> Unit:
    return Unit(trial, "validation", (rows[0], rows[-1]), rows)


def test_a_unit_is_retried_until_it_was_lost_with_three_workers_while_others_were_done() -> None:
    losses, verdicts = Losses(3), []
    for worker in ("a", "b", "c"):
        losses.done(unit(9))
        verdicts.append(losses.lost(unit(1, 2), worker))
    assert verdicts == ["retry", "retry", "split"]
    assert losses.workers(unit(1, 2)) == {"a", "b", "c"}


def test_where_workers_are_few_a_single_row_is_isolated_after_twice_as_many_losses() -> None:
    losses = Losses(3)
    for _ in range(5):
        losses.done(unit(9))
        assert losses.lost(unit(1), "only") == "retry"
    losses.done(unit(9))
    assert losses.lost(unit(1), "only") == "isolate"


def test_several_rows_are_split_however_many_others_are_lost() -> None:
    losses = Losses(3)
    for number in range(20):
        losses.lost(unit(50 + number), "a")
        losses.done(unit(9))
    assert [losses.lost(unit(1, 2), worker) for worker in ("a", "b", "c")] == ["retry", "retry", "split"]


def test_when_all_is_lost_and_nothing_done_it_is_not_the_rows() -> None:
    losses = Losses(3)
    losses.done(unit(9))
    verdicts = [losses.lost(unit(row), worker) for worker in ("a", "b") for row in (1, 2, 3)]
    assert set(verdicts) == {"retry"}
    assert losses.is_trouble
    assert losses.lost(unit(1), "c", alone=True) == "retry"
    assert losses.lost(unit(1, trial=1), "c", alone=True) == "retry"  # it may be the row
    assert losses.lost(unit(2), "c", alone=True) == "down"


def test_one_thing_done_shows_that_infrastructure_works() -> None:
    losses = Losses(3)
    for worker in ("a", "b"):
        for row in (1, 2, 3):
            losses.lost(unit(row), worker)
    losses.done(unit(1))
    assert not losses.is_trouble
    assert [losses.lost(unit(row), "c") for row in (2, 3)] == ["retry", "retry"]


def test_where_many_are_lost_by_chance_a_row_must_be_lost_more_often() -> None:
    losses, rng = Losses(3), random.Random(1)
    for number in range(400):
        row = (number % 40,)
        if rng.random() < 0.2:
            assert losses.lost(unit(*row), f"w{rng.randrange(8)}") == "retry"
        else:
            losses.done(unit(*row))
    verdicts = []
    for worker in "abcdefghijkl":
        losses.done(unit(1))
        verdicts.append(losses.lost(unit(99), worker))
    first = verdicts.index("isolate")
    assert 3 < first < 12


def test_a_node_that_goes_with_the_same_rows_of_many_trials_is_neither_outage_nor_poison() -> None:
    losses = Losses(3)
    losses.done(unit(9))
    verdicts = [losses.lost(unit(row, trial=trial), f"w{trial}{row}") for trial in range(8) for row in (1, 2)]
    assert set(verdicts) == {"retry"}


# in a sweep -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_with_a_fifth_of_all_units_lost_the_chosen_candidate_is_the_faultless_one(
    make_toy: Callable[[], Toy], seed: int, chunk: int
) -> None:
    calm, stormy = make_toy(), make_toy()
    rng = random.Random(seed)
    losses: list[str] = []

    def lose(work: Work, worker: str) -> Outcome | None:
        if rng.random() >= 0.2:
            return None
        losses.append(work.id)
        return gone(work, worker)

    stormy.lost_with = lose
    expected, found = simulated(calm, chunk=chunk), simulated(stormy, chunk=chunk, seed=seed)
    assert len(losses) > 2
    assert found == expected
    assert stormy.decisions() == calm.decisions()
    attempts = stormy.store.attempts("run-1")
    assert sum(attempt.outcome == "lost" for attempt in attempts) == len(losses)
    assert {attempt.reason for attempt in attempts} == {None, "HostDied: process 7 died"}


def test_a_row_that_kills_its_worker_is_left_out_for_every_candidate_and_the_sweep_goes_on(
    make_toy: Callable[[], Toy],
) -> None:
    toy, killed = make_toy(), []
    toy.optimizer = "random"

    def lose(work: Work, worker: str) -> Outcome | None:
        if 6 not in work.payload.rows:
            return None
        killed.append((work.payload.trial, work.payload.rows, worker))
        return gone(work, worker)

    toy.lost_with = lose
    result = simulated(toy)
    assert (result.status, len(result.trials)) == ("finished", 7)
    assert [(row.split, row.row) for row in result.isolated] == [("validation", 6)]
    assert "HostDied: process 7 died" in result.isolated[0].reason
    for trial in result.trials:
        assert trial.rows == tuple(range(10))  # a trial without the row counts as much as any other
        assert [row for row, score in zip(trial.rows, trial.scores, strict=True) if score is None] == [6]
        assert trial.mean == pytest.approx(sum(s for s in trial.scores if s is not None) / 9)
    assert 6 <= len(killed) <= 20
    assert [e.data["row"] for e in toy.store.events("run-1") if e.kind == "isolate"] == [6]
    again = toy.sweep()
    again.open()
    assert again.finished()
    assert again.result() == result
    assert again.progress()["isolated"] == [{"split": "validation", "row": 6, "reason": result.isolated[0].reason}]


@pytest.mark.parametrize("pushes", [5, 12, 20, 26, 33])
def test_a_run_with_a_poison_row_resumes_to_the_same_scores(make_toy: Callable[[], Toy], pushes: int) -> None:
    whole, toy = make_toy(), make_toy()
    for one in (whole, toy):
        one.fault = lambda work: gone(work, "w") if 6 in work.payload.rows else None
    unbroken = whole.run()
    sweep = toy.sweep()
    sweep.open()
    toy.drive(sweep, pushes=pushes)
    again = toy.run()
    assert [trial.scores for trial in again.trials] == [trial.scores for trial in unbroken.trials]
    assert again.best == unbroken.best


def test_a_row_is_never_scored_0_because_it_was_lost(make_toy: Callable[[], Toy]) -> None:
    toy = make_toy()
    toy.fault = lambda work: gone(work, "w") if 6 in work.payload.rows else None
    toy.run()
    assert (0, 6) not in toy.recorded()


def test_an_outage_ends_the_run_as_failed_with_the_way_back(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    sweep = toy.sweep()
    sweep.open()
    toy.drive(sweep, pushes=5)
    sweep = toy.sweep()
    sweep.open()
    toy.lost_with = gone
    with pytest.raises(SweepError, match=r"(?s)gave up.*HostDied: process 7 died.*resume run 'run-1'"):
        toy.simulate(sweep, workers=3)
    record = toy.store.load("run-1")
    assert record.status == "failed"
    assert "HostDied: process 7 died" in (record.note or "")
    toy.lost_with = lambda *_: None
    assert toy.run() == unbroken
    assert toy.store.load("run-1").status == "finished"


def test_a_node_lost_with_all_its_units_at_once_is_no_outage(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    sweep = toy.sweep(chunk=1)
    sweep.open()
    units = sweep.pull(16, 1.0)
    sweep.push([gone(unit, f"w{i}") for i, unit in enumerate(units)], 2.0)
    assert toy.simulate(sweep, workers=4) == unbroken


def test_a_lost_unit_avoids_the_workers_that_lost_it(toy: Toy) -> None:
    sweep = toy.sweep(chunk=10, max_pending_trials=1)
    sweep.open()
    (unit,) = sweep.pull(9, 1.0)
    sweep.push([gone(unit, "w1")], 2.0)
    (again,) = sweep.pull(9, 3.0)
    assert (again.avoid, again.payload, again.attempts) == ({"w1"}, unit.payload, 1)
    assert again.id != unit.id  # a member answers an old id with what came of it


def crowded(toy: Toy, sweep: Any, poison: int, room: int = 3) -> Any:
    """Run with two workers that hold several units each; one with the poison row takes all beside it along."""
    held: dict[str, list[Work]] = {"w1": [], "w2": []}
    turn, now = 0, 1000.0
    while not sweep.finished():
        now += 1.0
        for work in sweep.pull(sum(room - len(units) for units in held.values()), now):
            able = [name for name in held if len(held[name]) < room]
            wanted = [name for name in able if name not in work.avoid] or able
            held[min(wanted, key=lambda name: len(held[name]))].append(work)
        turn += 1
        name = "w1" if held["w1"] and (turn % 2 or not held["w2"]) else "w2"
        units, held[name] = held[name], []
        if any(poison in work.payload.rows for work in units):
            sweep.push([gone(work, name) for work in units], now)
        else:
            sweep.push([toy.evaluate(units[0])], now)
            held[name] = units[1:]
    return sweep.result()


@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("room", [2, 3, 5])
def test_rows_that_are_lost_beside_a_poison_row_are_not_given_up_with_it(
    make_toy: Callable[[], Toy], chunk: int, room: int
) -> None:
    toy = make_toy()
    toy.optimizer = "random"
    sweep = toy.sweep(chunk=chunk)
    sweep.open()
    result = crowded(toy, sweep, poison=6, room=room)
    assert [row.row for row in result.isolated] == [6]
    assert all(score is not None for trial in result.trials for score in (*trial.scores[:6], *trial.scores[7:]))


def test_the_only_row_of_a_split_is_never_left_out(make_toy: Callable[[], Toy]) -> None:
    toy = make_toy()
    toy.optimizer, toy.validation_rows = "random", 1
    unbroken = toy.run(run_id="whole")
    toy.lost_with = gone
    sweep = toy.sweep()
    sweep.open()
    with pytest.raises(SweepError, match="gave up"):
        toy.simulate(sweep, workers=2)
    assert toy.run().trials == unbroken.trials
