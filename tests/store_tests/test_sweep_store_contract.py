"""Sweeps in the store, on SQLite and PostgreSQL: what is written, read in parts, asked from outside, and migrated."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sweep_runs import drive, evaluate, sweep_of

from dspex_agents import database as database_module
from dspex_agents.clock import ManualClock
from dspex_agents.database import Database
from dspex_agents.errors import StoreError
from dspex_agents.roles.plan import Outcome
from dspex_coordination import Ask, Bool, Candidate, Choice, Float, SearchContext, Space, Sweep, SweepStore, Told
from dspex_coordination.sweep import Attempt, RowResult, RowsEvaluated

FIRST = Path(__file__).parents[1] / "coordination_tests" / "fixtures" / "sweeps-v1.sql"


def run(database: Database, run_id: str, *, at: float = 1000.0, units: int | None = None, trials: int = 4) -> Sweep:
    clock = ManualClock(at)
    sweep: Sweep = sweep_of(SweepStore(database), run_id, trials=trials, clock=clock)
    sweep.open()
    drive(sweep, units=units, clock=clock)
    return sweep


class TestReading:
    def test_sweeps_are_listed_by_status_name_and_time_the_newest_first(self, database: Database) -> None:
        run(database, "bank_1", at=100.0)
        run(database, "bank_2", at=200.0, units=1)
        run(database, "bankX3", at=300.0)
        store = SweepStore(database)

        def listed(**filters: Any) -> list[str]:
            return [record.run_id for record in store.list_sweeps(**filters)]

        assert listed() == ["bankX3", "bank_2", "bank_1"]
        assert listed(limit=2) == ["bankX3", "bank_2"]
        assert listed(status="finished") == ["bankX3", "bank_1"]
        assert listed(status=["running", "cancelled"]) == ["bank_2"]
        assert listed(contains="bank_") == ["bank_2", "bank_1"]
        assert listed(since=200.0) == ["bankX3", "bank_2"]

    def test_trials_are_read_with_their_measures_and_open_ones_too(self, database: Database) -> None:
        sweep = run(database, "r", units=5)
        trials = SweepStore(database).trials("r")
        assert [trial.told_at is None for trial in trials] == [False, False, True, True]
        result_of = {told.number: told for told in sweep._turns.board.leaders.front}
        for trial in trials[:2]:
            assert (trial.split, trial.rows, trial.failed) == ("validation", None, None)
            assert trial.measures["score"] <= max(told.mean or 0.0 for told in result_of.values())
            assert {"score_low", "latency_s", "cost_usd", "reliability"} <= set(trial.measures)
        assert trials[3].measures == {}

    def test_rows_are_read_in_parts_and_as_a_stream(self, database: Database) -> None:
        run(database, "r")
        store = SweepStore(database)
        whole = store.rows("r")
        assert len(whole) == 80
        assert [row for start in range(0, 80, 30) for row in store.rows("r", limit=30, offset=start)] == whole
        assert list(store.stream_rows("r")) == whole
        assert [row.result.row for row in store.rows("r", 2)] == list(range(20))

    def test_a_metrics_own_measures_are_kept_with_the_row(self, database: Database) -> None:
        sweep = sweep_of(SweepStore(database), "r", trials=1, clock=ManualClock(5.0))
        sweep.open()
        for work in sweep.pull(9, 5.0):
            rows = tuple(
                RowResult(row, 1.0, "é\0", 0.1, 0.2, None, {"brevity": row / 2}, "too\0 long", 0.025)
                for row in work.payload.rows
            )
            sweep.push([Outcome(work.id, RowsEvaluated(rows), worker="w")], 6.0)
        assert [row.result.measures for row in SweepStore(database).rows("r", limit=2)] == [
            {"brevity": 0.0},
            {"brevity": 0.5},
        ]
        measures = SweepStore(database).trials("r")[0].measures
        assert measures["brevity"] == pytest.approx(4.75)
        assert measures["cost_usd"] == pytest.approx(0.075)
        (first,) = SweepStore(database).rows("r", limit=1)
        assert (first.result.feedback, first.result.metric_cost_usd) == ("too\\0 long", 0.025)

    def test_each_hand_out_is_kept_with_worker_times_and_outcome(self, database: Database) -> None:
        sweep = sweep_of(SweepStore(database), "r", trials=1, clock=ManualClock(5.0))
        sweep.open()
        (unit,) = sweep.pull(1, 6.0)
        sweep.push([evaluate(unit)], 8.5)
        (attempt,) = SweepStore(database).attempts("r")
        assert attempt == Attempt(0, unit.id, 0, 10, "w1", 6.0, 8.5, "done", attempt.cost_usd, 0, None)
        assert SweepStore(database).attempts("r", offset=1) == []
        assert SweepStore(database).attempt_sums("r").next_number == 1


class TestWriting:
    def test_requests_are_taken_in_order_and_once(self, database: Database) -> None:
        sweep = sweep_of(SweepStore(database), "r", clock=ManualClock(1000.0))
        sweep.open()
        store = SweepStore(database)
        store.request("r", "pause", {}, 1000.0)
        store.request("r", "resume", {}, 1000.0)
        sweep.revisit(1001.0)
        assert [(request.kind, request.taken_at) for request in store.requests("r")] == [
            ("pause", 1001.0),
            ("resume", 1001.0),
        ]
        assert store.load("r").status == "running"

    def test_an_interrupted_sweep_resumes_to_the_unbroken_result(self, database: Database) -> None:
        unbroken = run(database, "whole").result()
        run(database, "broken", units=5)
        again = run(database, "broken").result()
        assert (again.best, again.trials, again.cost_usd) == (unbroken.best, unbroken.trials, unbroken.cost_usd)


class Scripted:
    """The optimizer with which the sweeps of the first release were made."""

    name = "scripted"

    def start(self, context: SearchContext) -> None:
        self._context, self._asked, self._told = context, 0, list[Told]()

    def ask(self, pending: int) -> Ask | None:
        if self.done:
            return None
        default, number = self._context.space.default(), self._asked
        self._asked += 1
        return Ask(Candidate({**default.values, "temperature": number / 4}) if number else default)

    def tell(self, told: Told) -> None:
        self._told.append(told)

    @property
    def done(self) -> bool:
        return self._asked >= self._context.max_trials

    def best(self) -> Told | None:
        return max((t for t in self._told if t.mean is not None), key=lambda t: (t.mean, -t.number), default=None)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        raise NotImplementedError


@pytest.fixture
def first(database: Database) -> Database:
    """A database with two sweeps of the first release."""
    script = FIRST.read_text(encoding="utf-8").replace("BEGIN TRANSACTION;", "").replace("COMMIT;", "")
    # neither the order of tables nor the type of a date is the same on PostgreSQL
    script = re.sub(r",\s*FOREIGN KEY\(\w+\) REFERENCES \w+ \(\w+\)", "", script).replace("DATETIME", "TIMESTAMP")
    with database.transaction() as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement.replace("%", "%%"))
    return database


def old_sweep(database: Database, run_id: str) -> Sweep:
    space = Space({"temperature": Float(0.0, 1.0), "terse": Bool(), "model": Choice(["a", "b"])})
    context = SearchContext(space, 3, 4, (), None, 0, validation_rows=3)
    return Sweep(
        run_id=run_id,
        store=SweepStore(database),
        optimizer=Scripted(),
        context=context,
        fingerprint=json.dumps({"program": "p"}),
        clock=ManualClock(2000.0),
    )


class TestFirstRelease:
    def test_its_sweeps_are_listed_and_read(self, first: Database) -> None:
        store = SweepStore(first)
        assert [(r.run_id, r.status, r.trials, r.rows) for r in store.list_sweeps()] == [
            ("finished", "finished", 4, 12),
            ("interrupted", "running", 1, 5),
        ]
        assert store.load("interrupted").is_stale(1100.0 + 61)
        assert [trial.measures for trial in store.trials("finished")] == [
            {"score": pytest.approx(score)} for score in (1 / 3, 0.0, 1.0, 1 / 3)
        ]
        assert (store.attempts("finished"), store.requests("finished")) == ([], [])

    def test_its_finished_sweep_tells_its_result(self, first: Database) -> None:
        sweep = old_sweep(first, "finished")
        sweep.open()
        result = sweep.result()
        assert (result.status, result.best and result.best.number, result.cost_usd) == ("finished", 2, 3.0)

    def test_its_interrupted_sweep_goes_on_with_what_is_missing(self, first: Database) -> None:
        sweep = old_sweep(first, "interrupted")
        sweep.open()
        handed: list[tuple[int, int]] = []
        while not sweep.finished():
            for work in sweep.pull(1, 2000.0):
                handed += [(work.payload.trial, row) for row in work.payload.rows]
                rows = tuple(RowResult(row, 1.0, None) for row in work.payload.rows)
                sweep.push([Outcome(work.id, RowsEvaluated(rows), worker="w")], 2001.0)
        assert handed == [(1, 2), (3, 0), (3, 1), (3, 2)]  # trial 2 is the default once more: its rows are known
        third = pytest.approx(1 / 3)
        assert [trial.mean for trial in sweep.result().trials] == [third, third, third, 1.0]


class TestBadDatabases:
    def test_one_of_a_newer_version_is_refused_and_says_so(self, database: Database) -> None:
        SweepStore(database)
        with database.transaction() as connection:
            connection.execute(sa.text("INSERT INTO schema_migrations (id) VALUES ('coordination-0999-more')"))
        with pytest.raises(StoreError, match=r"newer version of dspex_ray.*coordination-0999-more.*Upgrade"):
            SweepStore(database)

    def test_one_with_such_tables_of_somebody_else_is_refused_by_name(self, database: Database) -> None:
        with database.transaction() as connection:
            connection.execute(sa.text("CREATE TABLE sweeps (dust INTEGER)"))
        with pytest.raises(StoreError, match=r"not made by dspex_ray.*sweeps.*already exists.*Name another"):
            SweepStore(database)

    def test_one_that_stays_locked_ends_the_sweep_with_the_file_and_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
        database = Database(str(tmp_path / "x.db"))
        sweep = sweep_of(SweepStore(database), "r", clock=ManualClock(5.0))
        sweep.open()
        (unit,) = sweep.pull(1, 5.0)
        blocker = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"x\.db.*stayed locked.*end it or use PostgreSQL"):
            sweep.push([evaluate(unit)], 6.0)
        blocker.close()
        again = sweep_of(SweepStore(database), "r", clock=ManualClock(5.0))
        again.open()
        assert [work.id for work in again.pull(1, 7.0)] == [unit.id]
        database.close()
