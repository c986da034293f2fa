"""Whatever is wrong with a `dspex sweeps` command: one paragraph, an exit code, and nothing written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sweep_runs import fill

Run = Callable[..., Any]
STORE = ("--store", "runs.db")


def refused(dspex: Run, words: list[str], said: str, code: int = 2) -> None:
    """Run the command for people and as JSON; both must say it, with this exit code and nothing else."""
    plain = dspex("sweeps", *words)
    assert (plain.code, plain.out) == (code, "")
    assert said in plain.err
    assert "Traceback" not in plain.err
    told = dspex("sweeps", *words, "--json")
    assert (told.code, told.err) == (code, "")
    assert said in told.json["error"]["message"]
    assert told.json["error"]["exit_code"] == code


@pytest.mark.parametrize(
    "words",
    [
        "show RUN",
        "watch RUN",
        "pause RUN",
        "resume RUN",
        "cancel RUN",
        "extend RUN --trials 1",
        "compare run-1 RUN",
        "plot RUN --out plot.png",
    ],
)
def test_an_unknown_run_is_refused_with_near_matches(dspex: Run, folder: Path, words: str) -> None:
    fill(folder / "runs.db", "run-1", trials=2)
    split = words.replace("RUN", "run-11").split()
    refused(dspex, [*split, *STORE], "No sweep 'run-11'")
    refused(dspex, [*split, *STORE], "Did you mean 'run-1'? Known: run-1.")
    assert not (folder / "plot.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("list --status runing", "Unknown status 'runing'. Did you mean 'running'?"),
        ("list --limit 0", "--limit"),
        ("show run-1 --trial 77", "Unknown trial of run-1 '77'."),
        ("compare run-1", "A comparison needs two different runs or more, got run-1."),
        ("compare run-1 run-1", "A comparison needs two different runs or more, got run-1, run-1."),
        ("compare run-1 run-2 --reach nan", "--reach must be a finite number, got nan."),
        ("compare run-1 run-2 --measure scor", "Unknown measure 'scor'. Did you mean 'score'"),
        ("plot run-1 --out plot.pdf", "give one that ends in .html or .png"),
        ("plot run-1 --out plot", "Cannot tell the kind of file from 'plot'"),
        ("plot run-1 --out nosuch/plot.png", "There is no folder"),
        ("plot run-1 --kind histroy --out plot.png", "Unknown kind of plot 'histroy'. Did you mean 'history'?"),
        ("plot run-1 --measure cost --out plot.png", "Unknown measure 'cost'. Did you mean 'cost_usd'?"),
        ("plot run-1", "Missing option '--out'"),
    ],
)
def test_wrong_words_are_refused_with_what_would_be_right(dspex: Run, folder: Path, words: str, said: str) -> None:
    fill(folder / "runs.db", "run-1", trials=2)
    fill(folder / "runs.db", "run-2", trials=2)
    refused(dspex, [*words.split(), *STORE], said)


def test_one_measure_against_itself_is_no_front(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db")
    words = "plot run-1 --kind pareto --x score --y score --out plot.png"
    refused(dspex, [*words.split(), *STORE], "two different measures, got 'score' twice", code=1)


def test_a_file_that_cannot_be_written_is_named(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db")
    (folder / "plot.png").mkdir()
    words = "plot run-1 --kind history --out plot.png"
    refused(dspex, [*words.split(), *STORE], "Cannot write 'plot.png': Is a directory.")


@pytest.mark.parametrize("words", [["list"], ["show", "run-1"], ["watch", "run-1"], ["pause", "run-1"]])
def test_a_store_that_is_not_ours_damaged_or_newer_is_refused(dspex: Run, folder: Path, words: list[str]) -> None:
    (folder / "text.db").write_text("no database at all, but a long enough text " * 40, encoding="utf-8")
    refused(dspex, [*words, "--store", "text.db"], "is not a SQLite database")
    refused(dspex, [*words, "--store", "mysql://x/y"], "Use sqlite:///file.db or postgresql://")
    fill(folder / "runs.db", trials=2)
    with closing(sqlite3.connect(folder / "runs.db")) as connection, connection:
        connection.execute("INSERT INTO schema_migrations (id) VALUES ('coordination-9999-later')")
    refused(dspex, [*words, *STORE], "made by a newer version of dspex_ray")


def test_a_locked_store_is_named_with_what_to_do(dspex: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dspex_agents.database.BUSY_TIMEOUT_S", 0.1)
    fill(folder / "runs.db", trials=2)
    with closing(sqlite3.connect(folder / "runs.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        refused(dspex, ["list", *STORE], "stayed locked")
        holder.execute("ROLLBACK")
    assert dspex("sweeps", "list", *STORE).code == 0
