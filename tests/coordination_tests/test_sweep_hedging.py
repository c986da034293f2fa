"""Stragglers: when a second copy is due, and that the first answer counts, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination import SweepError
from dspex_coordination.sweep import Hedging
from dspex_coordination.sweep.flights import Flights
from dspex_coordination.sweep.units import Unit

Toy = Any  # the class of the `toy` fixture in conftest.py
HEDGE = Hedging(floor_s=2.0, quantile=0.9, factor=2.0, sample=3)
GONE = Failure("infrastructure", "HostDied", "gone", retryable=True)


def unit(first: int, rows: int = 1) -> Unit:
    return Unit(0, "validation", (first, first + rows - 1), tuple(range(first, first + rows)))


# the pure part ----------------------------------------------------------------------------------------------------
def test_a_copy_is_due_after_twice_the_usual_time_for_so_many_rows_and_never_before_the_floor() -> None:
    flights = Flights(HEDGE)
    one, four = flights.launch(unit(0), 0.0), flights.launch(unit(10, 4), 0.0)
    assert flights.stragglers(100.0, 9) == []  # nothing is known of the usual time
    for pace in (1.0, 1.5, 2.0):
        flights.note_pace(pace, 1)
    assert flights.stragglers(4.0, 9) == []
    assert flights.stragglers(4.1, 9) == [one]
    assert flights.stragglers(16.1, 9) == [one, four]
    assert flights.stragglers(16.1, 1) == [one]
    flights.launch(one.unit, 17.0, one.id)
    assert flights.stragglers(100.0, 9) == [four]  # one copy at a time


def test_the_first_answer_settles_a_unit_and_what_comes_later_is_late() -> None:
    flights = Flights(HEDGE)
    first = flights.launch(unit(0), 0.0)
    second = flights.launch(unit(0), 5.0, first.id)
    assert first.id != second.id
    assert flights.needed == 1
    assert flights.land(second.id) is second
    assert flights.settle(second, answered=True)
    assert flights.needed == 0
    for _ in range(3):
        flights.note_pace(0.1, 1)
    assert flights.stragglers(1e6, 9) == []  # the first copy is late, but nobody waits for it
    assert flights.land(first.id) is first
    assert not flights.settle(first, answered=True)
    assert flights.land(first.id) is None


def test_a_unit_is_lost_when_all_its_copies_are() -> None:
    flights = Flights(HEDGE)
    first = flights.launch(unit(0), 0.0)
    second = flights.launch(unit(0), 5.0, first.id)
    flights.land(first.id)
    assert not flights.settle(first, answered=False)
    flights.land(second.id)
    assert flights.settle(second, answered=False)


@pytest.mark.parametrize("bad", [{"factor": 0}, {"quantile": 1.0}, {"sample": 0}, {"floor_s": -1}])
def test_settings_that_cannot_be_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(SweepError, match="hedging needs"):
        Hedging(**bad)


# in a sweep -------------------------------------------------------------------------------------------------------
def stuck(toy: Toy) -> None:
    """Let the last rows of trial 3 hang for ten minutes at whoever has them first."""
    hung: list[str] = []

    def slowed(work: Work, worker: str, latency: float) -> float:
        if work.payload.trial == 3 and 9 in work.payload.rows and not hung:
            hung.append(worker)
            return 600.0
        return latency

    toy.slowed = slowed


def simulated(toy: Toy, **options: Any) -> Any:
    toy.optimizer, toy.trials = "random", 4
    sweep = toy.sweep(**{"hedge": HEDGE, "workers": 4, **options})
    sweep.open()
    return toy.simulate(sweep, workers=4)


def test_a_straggler_costs_seconds_instead_of_minutes_and_changes_nothing(make_toy: Callable[[], Toy]) -> None:
    calm, slow, waiting = make_toy(), make_toy(), make_toy()
    stuck(slow)
    stuck(waiting)
    expected, found = simulated(calm), simulated(slow)
    assert found == expected
    assert slow.elapsed_s < 30
    assert simulated(waiting, hedge=None).trials == expected.trials
    assert waiting.elapsed_s > 600


def test_no_copy_is_made_while_rows_wait(toy: Toy) -> None:
    toy.optimizer = "random"
    sweep = toy.sweep(hedge=Hedging(floor_s=0.0, sample=1), chunk=4)
    sweep.open()
    (first, *_) = sweep.pull(1, 1.0)
    sweep.push([toy.evaluate(unit) for unit in sweep.pull(2, 1.0)], 2.0)
    more = sweep.pull(3, 1000.0)
    assert len(more) == 3
    assert all(unit.apart_from is None for unit in more)
    rest = sweep.pull(100, 1000.0)
    assert [unit.apart_from for unit in rest if unit.payload == first.payload] == [first.id]


def test_the_second_answer_is_dropped_its_cost_counted_and_its_calls_kept(toy: Toy) -> None:
    with toy.store.database.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE calls (unit TEXT)"))

    def keep(connection: sa.Connection, evaluated: Any, _work: Any) -> None:
        connection.execute(sa.text("INSERT INTO calls VALUES (:unit)"), [dict(r) for r in evaluated.records])

    toy.optimizer, toy.trials = "random", 1
    sweep = toy.sweep(hedge=Hedging(floor_s=0.0, sample=1), chunk=5, on_rows=keep)
    sweep.open()
    first, other = sweep.pull(2, 1.0)
    sweep.push([toy.evaluate(other)], 2.0)
    (copy,) = sweep.pull(2, 10.0)
    assert (copy.payload, copy.apart_from, copy.affinity) == (first.payload, first.id, None)
    sweep.push([toy.evaluate(copy), toy.evaluate(first)], 11.0)
    result = sweep.result()
    price = sum(0.1 + row / 7 for row in first.payload.rows)
    assert result.wasted_usd == pytest.approx(price)
    assert result.cost_usd == pytest.approx(sum(0.1 + row / 7 for row in range(10)))
    assert [attempt.outcome for attempt in toy.store.attempts("run-1")] == ["done", "done", "dropped"]
    with toy.store.database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM calls")).scalar() == 3
    again = toy.sweep()
    again.open()
    assert again.result().wasted_usd == pytest.approx(price)


def test_a_sweep_ends_without_waiting_for_the_copy_that_nobody_needs(toy: Toy) -> None:
    toy.optimizer, toy.trials = "random", 1
    sweep = toy.sweep(hedge=Hedging(floor_s=0.0, sample=1), chunk=5)
    sweep.open()
    _, other = sweep.pull(2, 1.0)
    sweep.push([toy.evaluate(other)], 2.0)
    (copy,) = sweep.pull(2, 10.0)
    sweep.push([toy.evaluate(copy)], 11.0)
    assert sweep.finished()


def test_a_lost_copy_leaves_its_unit_to_the_other(toy: Toy) -> None:
    toy.optimizer, toy.trials = "random", 1
    sweep = toy.sweep(hedge=Hedging(floor_s=0.0, sample=1), chunk=5)
    sweep.open()
    first, other = sweep.pull(2, 1.0)
    sweep.push([toy.evaluate(other)], 2.0)
    (copy,) = sweep.pull(2, 10.0)
    sweep.push([Outcome(copy.id, error=GONE, worker="w2")], 11.0)
    (third,) = sweep.pull(2, 12.0)
    sweep.push([Outcome(third.id, error=GONE, worker="w3")], 13.0)
    assert sweep.pull(2, 99.0) == []  # that is enough; the first one is still at it
    sweep.push([toy.evaluate(first)], 100.0)
    assert sweep.finished()
    assert sweep.result().isolated == ()
