"""Sweeps under a real coordinator over real task agents, in one process: requests, shares, stragglers, lost hosts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from coordinated import asked, kill_host_of, status
from runtime_contract import spec_of
from sweep_agents import RowScorer, search, team

from dspex_agents import RunPlan, System, start_local_system
from dspex_agents.database import Database
from dspex_coordination import SweepResult, SweepStore
from dspex_coordination.sweep import Hedging, SweepSettings

TIMEOUT_S = 30.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    RowScorer.reset()
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SweepStore]:
    database = Database(url)
    yield SweepStore(database)
    database.close()


def order(url: str, run_id: str = "r", *, share: int = 1, **options: Any) -> RunPlan:
    return RunPlan(run_id, search, {"url": url, "run_id": run_id, **options}, share)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def run(system: System, plan: RunPlan) -> SweepResult:
    result: SweepResult = system.ask("coord", plan, timeout_s=TIMEOUT_S)
    return result


def test_agents_find_what_any_number_of_them_finds(url: str) -> None:
    results = []
    for count in (1, 3):
        with start_local_system(spec_of(*team(count))) as system:
            results.append(run(system, order(url, f"r{count}", optimizer="genetic")))
    assert results[0].trials == results[1].trials
    assert results[0].status == "finished"
    assert set(RowScorer.scored.values()) == {1}


def test_a_run_is_paused_resumed_and_cancelled_from_another_process(url: str, store: SweepStore) -> None:
    RowScorer.pause_s = 0.01
    with start_local_system(spec_of(*team(2))) as system:
        thread, answers = asked(system, order(url, trials=40), timeout_s=TIMEOUT_S)
        until(lambda: sum(RowScorer.scored.values()) > 5)
        store.request("r", "pause", {}, time.time())
        until(lambda: store.load("r").status == "paused")
        until(lambda: status(system, "r").in_flight == 0)
        before = sum(RowScorer.scored.values())
        time.sleep(0.2)  # that nothing happens can only be waited for
        assert sum(RowScorer.scored.values()) == before
        store.request("r", "resume", {}, time.time())
        until(lambda: sum(RowScorer.scored.values()) > before)
        store.request("r", "cancel", {"reason": "seen enough"}, time.time())
        thread.join(TIMEOUT_S)
    (result,) = answers
    assert (result.status, result.stopped_by) == ("cancelled", "seen enough")
    assert 0 < len(result.trials) < 40


@pytest.mark.parametrize(("share", "low", "high"), [(1, 0.8, 1.25), (3, 2.2, 4.0)])
def test_runs_share_their_members_by_weight(url: str, share: int, low: float, high: float) -> None:
    RowScorer.pause_s = 0.004
    settings = SweepSettings(chunk=1, workers=2, max_pending_trials=8)
    options = {"trials": 60, "rows": 10, "settings": settings}
    with start_local_system(spec_of(*team(2, room=3))) as system:
        runs = [
            asked(system, order(url, name, share=weight, **options), timeout_s=TIMEOUT_S)
            for name, weight in (("one", 1), ("other", share))
        ]
        until(lambda: min(RowScorer.begun["one"], RowScorer.begun["other"]) > 10 or any(given for _, given in runs))
        assert not any(given for _, given in runs), runs  # an answer so soon is an error
        before = {name: RowScorer.begun[name] for name in ("one", "other")}
        until(lambda: sum(RowScorer.begun.values()) > sum(before.values()) + 200)
        done = {name: RowScorer.begun[name] - before[name] for name in ("one", "other")}
        system.stop()
    for thread, _ in runs:
        thread.join(TIMEOUT_S)
    assert low < done["other"] / done["one"] < high


def test_a_straggler_is_given_to_another_member_and_the_run_ends_without_it(url: str, store: SweepStore) -> None:
    RowScorer.stuck = 4
    settings = SweepSettings(chunk=1, hedge=Hedging(floor_s=0.3, sample=3), max_pending_trials=1)
    with start_local_system(spec_of(*team(3, room=1, concurrency=2))) as system:
        result = run(system, order(url, trials=2, rows=9, settings=settings))
        RowScorer.gate.set()
    assert result.status == "finished"
    (hung,) = RowScorer.hung
    (late,) = [attempt for attempt in store.attempts("r") if (attempt.trial, attempt.unit) == (0, "0:validation:4-4")]
    assert late.worker != hung
    assert late.outcome == "done"
    assert len(RowScorer.scored) == 18


def test_the_host_of_the_only_member_killed_again_and_again_costs_no_row(url: str, store: SweepStore) -> None:
    RowScorer.pause_s = 0.003
    with start_local_system(spec_of(*team(1, alone=True))) as system:
        thread, answers = asked(system, order(url, rows=30), timeout_s=TIMEOUT_S)
        for seen in (10, 80):
            until(lambda seen=seen: len(store.rows("r")) >= seen if store.find("r") else False)
            kill_host_of(system, "w1")
        thread.join(TIMEOUT_S)
    (result,) = answers
    assert isinstance(result, SweepResult), result
    assert (result.status, result.isolated, len(result.trials)) == ("finished", (), 6)
    assert sum(attempt.outcome == "lost" for attempt in store.attempts("r")) >= 2
