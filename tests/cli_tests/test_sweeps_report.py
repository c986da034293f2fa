"""`dspex sweeps report`: a file of a finished run, of one that goes on, and what cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweep_runs import fill

Run = Callable[..., Any]
STORE = ("--store", "runs.db")


def test_the_report_of_a_finished_run_names_its_best_and_its_costs(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "done")
    said = dspex("sweeps", "report", "done", "--out", "done.html", *STORE, "--json")
    assert said.json == {"run_id": "done", "file": "done.html"}
    html = (folder / "done.html").read_text(encoding="utf-8")
    best = dspex("sweeps", "show", "done", *STORE, "--json").json["best"]
    assert f"{100 * best['measures']['score']:.1f} %" in html
    assert "model" in html
    assert "What changed" in html
    assert "12 of at most 12" in html


def test_a_run_that_goes_on_has_a_report(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "going", units=6)
    said = dspex("sweeps", "report", "going", "--out", "going.html", *STORE)
    assert (said.code, said.out) == (0, "Wrote the report of going to going.html.\n")
    assert "best so far" in (folder / "going.html").read_text(encoding="utf-8")


def test_an_unknown_run_and_another_ending_are_refused(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", "done", trials=2)
    said = dspex("sweeps", "report", "dome", "--out", "a.html", *STORE)
    assert said.code == 2
    assert "done" in said.err
    said = dspex("sweeps", "report", "done", "--out", "a.png", *STORE)
    assert said.code == 2
    assert ".html" in said.err
    assert not (folder / "a.png").exists()
