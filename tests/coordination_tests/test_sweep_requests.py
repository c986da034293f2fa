"""Pause, resume, cancel and extend: in the driver's process, and from another one through the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dspex_agents.clock import ManualClock
from dspex_coordination import JournalError, RandomSearch, Sweep, SweepError, UnknownSweepError, make_optimizer
from dspex_coordination.sweep.record import STALE_S

Toy = Any  # the class of the `toy` fixture in conftest.py


def started(toy: Toy, pushes: int, **options: Any) -> Sweep:
    """A sweep that has had so many units recorded, and has none in flight."""
    sweep: Sweep = toy.sweep(**options)
    sweep.open()
    for _ in range(pushes):
        sweep.push([toy.evaluate(work) for work in sweep.pull(1, 1000.0)], 1000.0)
    return sweep


def remaking(toy: Toy) -> Callable[[int], Any]:
    return lambda trials: make_optimizer(toy.optimizer, seed=toy.seed, max_trials=trials)


@pytest.mark.parametrize("pushes", [1, 4, 9, 14])
def test_a_paused_sweep_hands_out_nothing_records_what_is_in_flight_and_goes_on_to_the_same_result(
    make_toy: Callable[[], Toy], pushes: int
) -> None:
    whole, toy = make_toy(), make_toy()
    unbroken = whole.run()
    sweep = started(toy, pushes)
    out = sweep.pull(2, 1001.0)
    sweep.pause()
    assert sweep.pull(9, 1002.0) == []
    sweep.push([toy.evaluate(work) for work in out], 1003.0)
    assert sweep.pull(9, 1004.0) == []
    assert not sweep.finished()
    assert toy.store.load("run-1").status == sweep.progress()["status"] == "paused"
    sweep.resume()
    assert toy.store.load("run-1").status == "running"
    assert toy.drive(sweep) == unbroken
    assert [d for d in toy.decisions() if d[0] in ("ask", "tell")] == whole.decisions()


def test_a_paused_sweep_stays_paused_in_the_hands_of_another_driver_until_it_is_asked_to_go_on(
    make_toy: Callable[[], Toy],
) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    started(toy, 3).pause()
    again = started(toy, 0)
    assert again.pull(9, 1001.0) == []
    toy.store.request("run-1", "resume", {}, 1002.0)
    again.revisit(1002.0)
    assert toy.drive(again) == unbroken


def test_a_cancelled_sweep_tells_nobody_so_that_it_resumes_as_if_it_had_not_stopped(
    make_toy: Callable[[], Toy],
) -> None:
    whole, toy = make_toy(), make_toy()
    whole.run()
    sweep = started(toy, 2)
    out = sweep.pull(9, 1001.0)
    sweep.cancel("enough for today")
    sweep.push([toy.evaluate(work) for work in out], 1002.0)
    assert sweep.result().status == "cancelled"
    assert sweep.result().stopped_by == "enough for today"
    toy.run()
    assert [d for d in toy.decisions() if d[0] in ("ask", "tell")] == whole.decisions()


@pytest.mark.parametrize("kind", ["pause", "cancel"])
def test_a_request_in_the_store_is_heard_within_half_a_second_and_once(toy: Toy, kind: str) -> None:
    sweep = started(toy, 2)
    assert sweep.revisit(2000.0) == 0.5
    assert toy.store.request("run-1", kind, {"by": "another terminal"}, 2000.1)
    assert sweep.revisit(2000.4) == 0.5
    assert toy.store.load("run-1").status == "running"
    sweep.revisit(2000.5)
    assert toy.store.load("run-1").status == {"pause": "paused", "cancel": "cancelled"}[kind]
    (request,) = toy.store.requests("run-1")
    assert (request.kind, request.taken_at) == (kind, 2000.5)
    assert toy.store.requests("run-1", untaken=True) == []
    (event,) = [event for event in toy.store.events("run-1") if event.kind == kind]
    assert event.data == {"by": "another terminal", "request": request.id}


def test_a_running_sweep_is_given_more_trials(make_toy: Callable[[], Toy]) -> None:
    longer, toy = make_toy(), make_toy()
    longer.optimizer = toy.optimizer = "random"
    longer.trials = 12
    unbroken = longer.run()
    sweep = started(toy, 10, remake=remaking(toy))
    toy.store.request("run-1", "extend", {"trials": 12}, 1500.0)
    sweep.revisit(1500.0)
    assert sweep.progress()["trials_total"] == 12
    result = toy.drive(sweep)
    assert result.trials == unbroken.trials
    assert toy.store.load("run-1").config["max_trials"] == 12
    again = toy.sweep(remake=remaking(toy))  # with the 7 trials of before
    again.open()
    assert again.result() == result


def test_a_running_sweep_is_given_more_money_and_keeps_it_in_the_hands_of_another_driver(
    make_toy: Callable[[], Toy],
) -> None:
    whole, toy = make_toy().run(max_pending_trials=1), make_toy()
    sweep = started(toy, 2, budget_usd=1.0, max_pending_trials=1)
    sweep.extend(budget_usd=1000.0)
    again = started(toy, 1, budget_usd=1.0, max_pending_trials=1)
    assert toy.drive(again).trials == whole.trials


def test_more_trials_than_the_optimizer_can_be_made_for_are_refused_and_harm_nothing(
    make_toy: Callable[[], Toy],
) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    sweep = started(toy, 5)
    with pytest.raises(SweepError, match="cannot be given more trials while it runs"):
        sweep.extend(trials=20)
    toy.store.request("run-1", "extend", {"trials": 20}, 1500.0)
    sweep.revisit(1500.0)
    assert "cannot be given more trials" in next(
        event.data["reason"] for event in toy.store.events("run-1") if event.kind == "refused"
    )
    assert toy.drive(sweep) == unbroken


class OtherSearch(RandomSearch):
    name = "bootstrap"


def test_an_optimizer_that_would_have_searched_otherwise_with_more_trials_is_not_extended(toy: Toy) -> None:
    sweep = started(toy, 12, remake=lambda _: OtherSearch())
    with pytest.raises(SweepError, match="cannot be resumed"):
        sweep.extend(trials=20)
    assert toy.drive(sweep).status == "finished"


def test_a_dead_driver_is_told_by_its_heart(toy: Toy) -> None:
    clock = ManualClock(1000.0)
    sweep = started(toy, 1, clock=clock)
    for second in range(300):
        sweep.revisit(1000.0 + second)
    record = toy.store.load("run-1")
    assert not record.is_stale(1300.0)
    assert record.is_stale(1300.0 + STALE_S)
    sweep.close()
    assert toy.store.load("run-1").is_stale(1300.0)  # a driver that leaves in good order says so


def test_a_request_to_a_sweep_without_a_driver_takes_effect_at_once(toy: Toy) -> None:
    sweep = started(toy, 3)
    sweep.close()
    assert not toy.store.request("run-1", "cancel", {"reason": "never mind"}, 5000.0)
    record = toy.store.load("run-1")
    assert (record.status, record.note) == ("cancelled", "never mind")
    assert toy.store.requests("run-1") == []
    assert toy.run().status == "finished"


def test_resuming_a_paused_sweep_without_a_driver_lets_the_next_one_go_on(make_toy: Callable[[], Toy]) -> None:
    unbroken, toy = make_toy().run(), make_toy()
    sweep = started(toy, 3)
    sweep.pause()
    sweep.close()
    toy.store.request("run-1", "resume", {}, 5000.0)
    assert toy.run() == unbroken


def test_an_extension_of_an_ended_sweep_waits_for_whoever_resumes_it(toy: Toy) -> None:
    toy.optimizer = "random"
    toy.run()
    assert not toy.store.request("run-1", "extend", {"trials": 9}, 5000.0)
    result = toy.run(remake=remaking(toy))
    assert len(result.trials) == 9


def test_a_request_to_an_unknown_sweep_offers_near_matches(toy: Toy) -> None:
    toy.run()
    with pytest.raises(UnknownSweepError, match="run-1"):
        toy.store.request("run-2", "pause", {}, 1.0)


def test_a_second_driver_that_is_refused_leaves_the_first_one_in_peace(toy: Toy) -> None:
    first, second = toy.sweep(), toy.sweep()
    first.open()
    second.open()
    (unit,) = first.pull(1, 1000.0)
    second.pull(1, 1000.0)
    first.push([toy.evaluate(unit)], 1000.0)
    with pytest.raises(JournalError, match="Another process"):
        second.push([toy.evaluate(unit)], 1001.0)
    second.close()
    record = toy.store.load("run-1")
    assert (record.status, record.is_stale(1010.0)) == ("running", False)


@pytest.mark.parametrize(
    "data", [{"trials": 0}, {"trials": 2.5}, {"trials": True}, {"budget_usd": -1}, {"budget_usd": "much"}]
)
def test_totals_that_cannot_be_are_refused_where_they_are_asked_for(toy: Toy, data: dict[str, Any]) -> None:
    started(toy, 1)
    with pytest.raises(SweepError, match=f"{next(iter(data))} must be a"):
        toy.store.request("run-1", "extend", data, 1000.0)


def test_a_cancelled_sweep_with_work_in_flight_cannot_be_paused(toy: Toy) -> None:
    sweep = started(toy, 1)
    (unit,) = sweep.pull(1, 1000.0)
    sweep.cancel("enough")
    sweep.pause()
    sweep.resume()
    sweep.push([toy.evaluate(unit)], 1001.0)
    assert sweep.result().status == "cancelled"
