"""`dspex sweeps list | show | compare` on stores that real sweeps filled."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from advised_search import Advised
from sweep_runs import FINGERPRINT, ROWS, VARIABLES, fill, sweep_of

from dspex_agents.clock import ManualClock
from dspex_agents.database import Database
from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination import (
    Choice,
    Float,
    Int,
    RowResult,
    RowsEvaluated,
    SearchContext,
    Space,
    Sweep,
    SweepStore,
)

Run = Callable[..., Any]
STORE = ("--store", "runs.db")


# list -----------------------------------------------------------------------------------------------------------
def test_list_shows_each_run_with_status_trials_best_and_cost_the_newest_first(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "older", trials=5, clock=ManualClock(1000.0))
    fill(folder / "runs.db", "newer", trials=4)
    found = dspex("sweeps", "list", *STORE, "--json").json["sweeps"]
    assert [(row["run_id"], row["status"], row["trials_done"], row["trials_total"]) for row in found] == [
        ("newer", "finished", 4, 4),
        ("older", "finished", 5, 5),
    ]
    top = dspex("sweeps", "show", "newer", *STORE, "--json").json["top"][0]
    assert found[0]["best"] == top["measures"]["score"]
    assert found[0]["best_trial"] == top["trial"]
    assert found[0]["cost_usd"] == pytest.approx(sum(t["cost_usd"] for t in _trials(dspex, "newer")))
    said = dspex("sweeps", "list", *STORE)
    assert (said.code, said.err) == (0, "")
    assert said.out.index("newer") < said.out.index("older")


def errand_answered(work: Work) -> Outcome:
    asked = work.payload
    if asked.split == "errand":
        rows = (RowResult(0, None, {"heat": 0.3}, 0.01),)
    else:
        heat = asked.candidate_values["heat"]
        rows = tuple(RowResult(row, heat, {"row": row}, 0.1, trace=[] if asked.traced else None) for row in asked.rows)
    return Outcome(work.id, RowsEvaluated(rows), worker="w1")


def test_a_run_that_sent_errands_is_shown_with_its_trials_alone_counted(dspex: Run, folder: Path) -> None:
    database = Database(str(folder / "runs.db"))
    space = Space({"heat": Float(0.0, 1.0, default=0.5)})
    sweep = Sweep(
        run_id="advised",
        store=SweepStore(database),
        optimizer=Advised(),
        context=SearchContext(space, 0, 5, ("a", "b"), None, 2, ROWS),
        fingerprint=json.dumps(FINGERPRINT),
    )
    sweep.open()
    while not sweep.finished():
        sweep.push([errand_answered(work) for work in sweep.pull(1, 1000.0)], 1000.0)
    database.close()
    (listed,) = dspex("sweeps", "list", *STORE, "--json").json["sweeps"]
    assert (listed["trials_done"], listed["trials_total"]) == (5, 5)
    shown = dspex("sweeps", "show", "advised", *STORE, "--json").json
    assert shown["cost_usd"] == pytest.approx(0.02 + 0.1 * 2 + 4 * ROWS * 0.1)
    assert {trial["split"] for trial in shown["top"]} == {"validation"}
    errand = dspex("sweeps", "show", "advised", *STORE, "--trial", "2", "--rows", "--json")
    assert errand.code == 0
    assert "'heat': 0.3" in str(errand.json)
    fill(folder / "runs.db", "other")
    for words in (("show", "advised"), ("compare", "advised", "other"), ("report", "advised", "--out", "r.html")):
        assert dspex("sweeps", *words, *STORE).code == 0, words


def test_a_run_whose_driver_is_gone_is_stale_and_one_that_is_driven_is_running(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "gone", units=5, clock=ManualClock(1000.0))
    fill(folder / "runs.db", "driven", units=5)
    status = {row["run_id"]: row["status"] for row in dspex("sweeps", "list", *STORE, "--json").json["sweeps"]}
    assert status == {"gone": "stale", "driven": "running"}

    def only(*wanted: str) -> list[str]:
        words = [word for status in wanted for word in ("--status", status)]
        return [row["run_id"] for row in dspex("sweeps", "list", *STORE, *words, "--json").json["sweeps"]]

    assert only("running") == ["driven"]
    assert only("stale") == ["gone"]
    assert set(only("stale", "running")) == {"gone", "driven"}
    assert only("finished") == []
    assert "No such sweep." in dspex("sweeps", "list", *STORE, "--status", "failed").out


def test_list_keeps_its_limit_and_an_empty_store_says_how_to_begin(dspex: Run, folder: Path) -> None:
    assert "No sweeps yet. Start one with `dspex optimize`." in dspex("sweeps", "list", *STORE).out
    assert dspex("sweeps", "list", *STORE, "--json").json == {"sweeps": []}
    for n in range(3):
        fill(folder / "runs.db", f"run-{n}", trials=1)
    assert len(dspex("sweeps", "list", *STORE, "--limit", "2", "--json").json["sweeps"]) == 2


def test_a_run_without_a_score_yet_is_listed_and_shown(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", units=1)
    assert dspex("sweeps", "list", *STORE, "--json").json["sweeps"][0]["best"] is None
    said = dspex("sweeps", "show", "run-1", *STORE)
    assert said.code == 0
    assert "No trial has a score yet." in said.out


# show -----------------------------------------------------------------------------------------------------------
def test_show_tells_the_best_candidate_with_its_gain_over_the_baseline_on_the_same_rows(
    dspex: Run, folder: Path
) -> None:
    fill(folder / "runs.db")
    found = dspex("sweeps", "show", "run-1", *STORE, "--json").json
    best, gain = found["best"], found["best"]["against_baseline"]
    scores = {number: _scores(dspex, number) for number in (0, best["trial"])}
    assert gain["rows"] == ROWS
    assert gain["mean"] == pytest.approx(sum(scores[best["trial"]]) / ROWS - sum(scores[0]) / ROWS)
    assert gain["low"] < gain["mean"] < gain["high"]
    assert (found["settings"]["optimizer"], found["settings"]["max_trials"]) == ("random", 12)
    assert set(found["space"]["variables"]) == set(VARIABLES)
    assert found["fingerprint"] == FINGERPRINT
    said = dspex("sweeps", "show", "run-1", *STORE)
    assert f"best: trial {best['trial']}, score {100 * best['measures']['score']:.1f} %" in said.out
    assert f"against trial 0: {100 * gain['mean']:+.1f} points" in said.out


def test_show_lists_the_best_trials_first_and_as_many_as_wanted(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db")
    top = dspex("sweeps", "show", "run-1", *STORE, "--top", "4", "--json").json["top"]
    scores = [trial["measures"]["score"] for trial in top]
    assert len(top) == 4
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == max(trial["measures"]["score"] for trial in _trials(dspex, "run-1"))


def test_show_counts_failures_by_what_was_hit_and_by_class(dspex: Run, folder: Path) -> None:
    hits = iter(range(100))

    def fault(work: Work) -> Outcome | None:
        if work.payload.trial == 2:
            return Outcome(work.id, error=Failure("program", "ImportError", "no index", retryable=False), worker="w1")
        if next(hits) == 3:
            lost = Failure("infrastructure", "HostDied", "killed", retryable=True)
            return Outcome(work.id, error=lost, worker="w2")
        return None

    fill(folder / "runs.db", fault=fault)
    found = dspex("sweeps", "show", "run-1", *STORE, "--json").json
    rows = [row for t in _trials(dspex, "run-1") for row in _rows(dspex, t["trial"]) if row["error"]]
    assert found["failures"]["trials"] == {"ImportError": 1}
    assert found["failures"]["rows"] == {"ValueError": len(rows)}
    assert len(rows) > 0
    assert found["failures"]["infrastructure"] == {"HostDied": 1}
    assert found["attempts"]["outcomes"]["lost"] == 1
    said = dspex("sweeps", "show", "run-1", *STORE).out
    assert "1 ImportError" in said
    assert f"{len(rows)} ValueError" in said
    assert dspex("sweeps", "show", "run-1", *STORE, "--trial", "2", "--json").json["failed"] == "ImportError: no index"


def test_a_row_that_no_worker_survives_is_shown_as_isolated_and_the_best_is_the_sweeps_own(
    dspex: Run, folder: Path
) -> None:
    workers = (f"w{n}" for n in count())

    def fault(work: Work) -> Outcome | None:
        if work.payload.trial == 0 or 3 not in work.payload.rows:
            return None
        killed = Failure("infrastructure", "HostDied", "killed", retryable=True)
        return Outcome(work.id, error=killed, worker=next(workers))

    fill(folder / "runs.db", fault=fault)
    with closing(Database(str(folder / "runs.db"))) as database:
        sweep = sweep_of(SweepStore(database))
        sweep.open()
        result = sweep.result()
    found = dspex("sweeps", "show", "run-1", *STORE, "--json").json
    assert [(one["split"], one["row"]) for one in found["isolated"]] == [("validation", 3)]
    assert result.best is not None
    assert (found["best"]["trial"], found["best"]["measures"]["score"]) == (result.best.number, result.best.mean)
    assert found["best"]["against_baseline"]["rows"] == ROWS - 1
    assert "row 3 of validation: lost with " in dspex("sweeps", "show", "run-1", *STORE).out


def test_a_run_of_optimize_is_listed_shown_watched_and_drawn(dspex: Run, folder: Path) -> None:
    words = ("--data", "rows.csv", "--trials", "6", "--runtime", "in-process", "--json")
    made = dspex("optimize", "shop:Route", *words).json
    row = dspex("sweeps", "list", "--json").json["sweeps"][0]
    assert (row["status"], row["trials_done"], row["best"]) == ("finished", 6, made["score"])
    found = dspex("sweeps", "show", row["run_id"], "--json").json
    assert found["fingerprint"]["program"] == "shop:Route"
    assert found["best"]["measures"]["score"] == made["score"]
    assert dspex("sweeps", "show", row["run_id"], "--rows").code == 0
    assert dspex("sweeps", "watch", row["run_id"]).out.startswith(f"{row['run_id']} finished, 6/6 trials")
    assert dspex("sweeps", "plot", row["run_id"], "--out", "plot.html", "--json").json["kinds"][0] == "history"
    assert "demos.count" in (folder / "plot.html").read_text(encoding="utf-8")
    refused = dspex("sweeps", "resume", row["run_id"])
    assert f"Go on with: dspex optimize shop:Route --data ... --resume {row['run_id']}" in refused.err


def test_one_trial_is_shown_with_the_score_of_each_row_and_with_answers_on_demand(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db")
    told = dspex("sweeps", "show", "run-1", *STORE, "--trial", "3", "--json").json
    assert [row["row"] for row in told["scored"]] == list(range(ROWS))
    assert "output" not in told["scored"][0]
    assert told["measures"]["score"] == pytest.approx(sum(row["score"] for row in told["scored"]) / ROWS)
    answered = dspex("sweeps", "show", "run-1", *STORE, "--trial", "3", "--rows", "--json").json
    assert answered["scored"][7]["output"] == {"text": "answer 7"}
    assert "answer 7" in dspex("sweeps", "show", "run-1", *STORE, "--rows").out
    best = dspex("sweeps", "show", "run-1", *STORE, "--json").json["best"]["trial"]
    assert dspex("sweeps", "show", "run-1", *STORE, "--rows", "--json").json["trial"] == best


def test_a_trial_that_is_still_open_is_shown_with_the_rows_it_has(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", units=1)
    told = dspex("sweeps", "show", "run-1", *STORE, "--trial", "0", "--json").json
    assert told["open"]
    assert len(told["scored"]) == 10
    assert "trial 0 of run-1: open" in dspex("sweeps", "show", "run-1", *STORE, "--trial", "0").out


def test_a_candidate_of_another_release_of_the_space_does_not_keep_a_run_from_being_listed(
    dspex: Run, folder: Path
) -> None:
    fill(folder / "runs.db", trials=2)
    with closing(sqlite3.connect(folder / "runs.db")) as connection, connection:
        connection.execute("""UPDATE sweeps SET config = replace(config, '"bool"', '"no-such-kind"')""")
    assert dspex("sweeps", "list", *STORE, "--json").json["sweeps"][0]["trials_done"] == 2
    assert dspex("sweeps", "show", "run-1", *STORE).code == 0


# compare --------------------------------------------------------------------------------------------------------
def test_runs_on_the_same_rows_are_compared_row_by_row(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "one", trials=3)
    fill(folder / "runs.db", "two", trials=15, seed=5)
    found = dspex("sweeps", "compare", "one", "two", *STORE, "--json").json
    one, two = found["runs"]
    assert (one["trials"], two["trials"]) == (3, 15)
    assert one["score_low"] <= one["score"] <= one["score_high"]
    assert found["pairs"][0]["score"]["mean"] == pytest.approx(two["score"] - one["score"])
    assert found["pairs"][0]["score"]["rows"] == ROWS
    assert found["reach"] == min(one["best"], two["best"])
    assert all(row["reached_after_trials"] is not None for row in found["runs"])
    said = dspex("sweeps", "compare", "one", "two", *STORE).out
    assert f"on the same {ROWS} rows" in said


def test_runs_on_other_rows_are_not_paired_and_the_spaces_are_told_apart(dspex: Run, folder: Path) -> None:
    variables = {**VARIABLES, "model": Choice(["small", "large"], default="large"), "layers": Int(1, 4)}
    fill(folder / "runs.db", "one", trials=3)
    fill(folder / "runs.db", "two", trials=3, variables=variables, fingerprint={**FINGERPRINT, "validation": "v2"})
    pair = dspex("sweeps", "compare", "one", "two", *STORE, "--json").json["pairs"][0]
    assert (pair["score"], pair["not_paired"]) == (None, ["validation"])
    assert pair["space"] == [
        "variable 'layers' is in the second only",
        "variable 'model' differs: default 'small' and 'large'",
    ]
    said = dspex("sweeps", "compare", "one", "two", *STORE).out
    assert "two against one: not row by row, since their validation differ" in said


def test_a_level_that_a_run_never_reached_is_never(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "one", trials=2)
    fill(folder / "runs.db", "two", trials=2, seed=2)
    found = dspex("sweeps", "compare", "one", "two", *STORE, "--reach", "1.5", "--json").json
    assert [row["reached_after_trials"] for row in found["runs"]] == [None, None]
    assert "never" in dspex("sweeps", "compare", "one", "two", *STORE, "--reach", "1.5").out


def test_runs_can_be_compared_by_another_measure(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "one")
    fill(folder / "runs.db", "two", seed=2)
    found = dspex("sweeps", "compare", "one", "two", *STORE, "--measure", "cost_usd", "--json").json
    assert (found["measure"], found["direction"]) == ("cost_usd", "minimize")
    assert [row["best"] for row in found["runs"]] == [pytest.approx(0.001)] * 2


def _trials(dspex: Run, run_id: str) -> list[Any]:
    return list(dspex("sweeps", "show", run_id, *STORE, "--top", "1000", "--json").json["top"])


def _rows(dspex: Run, trial: int) -> list[Any]:
    return list(dspex("sweeps", "show", "run-1", *STORE, "--trial", str(trial), "--json").json["scored"])


def _scores(dspex: Run, trial: int) -> list[float]:
    return [row["score"] for row in _rows(dspex, trial)]
