"""The order of asks and tells: the same whatever the workers, or as they finish; and how busy the workers are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dspex_agents.roles.plan import Failure, Outcome
from dspex_coordination import Ask, Candidate, Told
from dspex_coordination.optimizers import RandomSearch
from dspex_coordination.sweep import CallsSpent, CostSpent, NoImprovement, RowsDone, StopRule, SweepSettings

Toy = Any  # the class of the `toy` fixture in conftest.py


class Gullible(RandomSearch):
    """What it asks next depends on every tell so far and on their order; now and then it waits for one more."""

    name = "gullible"

    def prepare(self) -> None:
        self._heard = 0.0

    def propose(self, number: int) -> Ask | None:
        if self.book.pending and number % 5 == 3 and len(self.book.told) < number - 1:
            return None
        ask = super().propose(number)
        heat = round((self._heard * 7919 + number * 0.618) % 1.0, 6)
        return None if ask is None else Ask(Candidate({**ask.candidate.values, "temperature": heat}))

    def learn(self, told: Told) -> None:
        self._heard = (self._heard * 31 + told.number + (told.mean or 0.5)) % 1000.0


def outcome_of(make_toy: Callable[[], Toy], crew: int, seed: int, **options: Any) -> tuple[Any, ...]:
    toy = make_toy()
    toy.optimizer, toy.trials = "random", 14
    sweep = toy.sweep(optimizer=Gullible(), **options)
    sweep.open()
    result = toy.simulate(sweep, workers=crew, seed=seed)
    return result.best, result.trials, result.status, result.stopped_by, result.cost_usd, toy.decisions()


CREWS = [(1, 0), (2, 1), (8, 2), (8, 3)]
RULES: list[tuple[float | None, StopRule | None, str]] = [
    (None, None, "finished"),
    (50.0, None, "budget"),
    (None, NoImprovement(4), "finished"),
    (None, CallsSpent(17) | RowsDone(1000), "budget"),
    (None, CostSpent(20) & NoImprovement(2), "budget"),
]


@pytest.mark.parametrize(("budget", "stop", "status"), RULES)
def test_1_2_and_8_workers_of_random_speed_decide_and_find_the_same(
    make_toy: Callable[[], Toy], budget: float | None, stop: StopRule | None, status: str
) -> None:
    found = [outcome_of(make_toy, w, seed, budget_usd=budget, stop=stop) for w, seed in CREWS]
    assert found[0][2] == status
    assert all(one == found[0] for one in found)


def test_without_order_the_same_optimizer_does_depend_on_the_workers(make_toy: Callable[[], Toy]) -> None:
    assert outcome_of(make_toy, 1, 0, reproducible=False) != outcome_of(make_toy, 8, 2, reproducible=False)


def test_trial_k_is_asked_when_all_up_to_k_minus_w_are_told_and_no_later_one(make_toy: Callable[[], Toy]) -> None:
    toy = make_toy()
    toy.optimizer, toy.trials = "random", 12
    sweep = toy.sweep(max_pending_trials=3)
    sweep.open()
    toy.simulate(sweep, workers=8, seed=5)
    told = -1
    for kind, trial, _ in toy.decisions():
        if kind == "tell":
            assert trial == told + 1
            told = trial
        else:
            assert told == max(-1, trial - 3)


def test_without_order_trials_are_told_as_they_finish(make_toy: Callable[[], Toy]) -> None:
    toy = make_toy()
    toy.optimizer, toy.trials = "random", 12
    toy.slowed = lambda work, _worker, latency: latency * (50 if work.payload.trial == 1 else 1)
    sweep = toy.sweep(reproducible=False, hedge=None)
    sweep.open()
    result = toy.simulate(sweep, workers=8)
    order = [trial for kind, trial, _ in toy.decisions() if kind == "tell"]
    assert order[-1] == 1
    assert len(result.trials) == 12
    assert toy.store.load("run-1").config["reproducible"] is False


@pytest.mark.parametrize(("rows", "trials"), [(100, 12), (20, 60), (10, 120)])
def test_16_workers_are_busy_until_the_last_of_the_work(make_toy: Callable[[], Toy], rows: int, trials: int) -> None:
    toy = make_toy()
    toy.optimizer, toy.trials, toy.validation_rows = "random", trials, rows
    sweep = toy.sweep(chunk=16, workers=16)
    sweep.open()
    toy.simulate(sweep, workers=16, seed=1)
    # all but the last 5 % of the work at 95 %, and those at a half, is 90.4 % of the whole
    assert toy.busy_s / (16 * toy.elapsed_s) > 0.904


def test_up_to_8_workers_or_with_many_rows_4_trials_are_open_and_else_as_many_as_keep_workers_busy() -> None:
    assert [SweepSettings(workers=w).pending(1) for w in (None, 1, 2, 8)] == [4, 4, 4, 4]
    assert [SweepSettings(workers=16).pending(rows) for rows in (100, 40, 20, 10)] == [4, 4, 8, 16]
    assert SweepSettings(workers=16, max_pending_trials=2).pending(1) == 2


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_saying_how_many_workers_there_are_changes_nothing(make_toy: Callable[[], Toy], workers: int) -> None:
    assert outcome_of(make_toy, workers, 1, workers=workers) == outcome_of(make_toy, 1, 0)


@pytest.mark.parametrize(("crew", "seed"), CREWS[1:])
def test_a_trial_that_fails_in_the_middle_changes_no_decision_whatever_the_workers(
    make_toy: Callable[[], Toy], crew: int, seed: int
) -> None:
    broken = Failure("program", "KeyError", "'intent'", retryable=False)
    found = []
    for workers, speed in ((1, 0), (crew, seed)):
        toy = make_toy()
        toy.trials = 14
        toy.fault = lambda work: Outcome(work.id, error=broken) if work.payload.trial in (2, 5, 9) else None
        sweep = toy.sweep(optimizer=Gullible())
        sweep.open()
        result = toy.simulate(sweep, workers=workers, seed=speed)
        found.append((toy.decisions(), result.best, [trial.mean for trial in result.trials]))
        assert [trial.number for trial in result.trials if trial.failed] == [2, 5, 9]
    assert found[0] == found[1]
