"""`dspex versions watch`: one step for cron and its exit code, the status, an optimisation killed in the middle."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.store import MoveLabel, open_store

Run = Callable[..., Any]
DSPEX = Path(sys.executable).with_name("dspex")
ONCE = ("--data", "rows.csv", "--once", "--runtime", "in-process", "--workers", "1", "--trials", "4")
KILLED_AFTER = 25  # rows


@pytest.fixture
def kept(folder: Path) -> None:
    """Keep a version of two programs that knows nothing, each with the label production."""
    store = open_store()
    for name in ("shop:Route", "shop:Slow"):
        demos = {"select": "fixed", "ids": []}
        state = {"program": name, "values": {"demos": demos}, "demo_pool": None, "lm": "embedded/nearest"}
        store.save_version(state, {"score": 0.3}, now=1.0)
        store.move_label(MoveLabel(program=name, label="production", kind="label", to=1, by="ann", at=1.0))
    store.database.close()


def recorded_rows(path: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM sweep_rows").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the tables are being made


@pytest.mark.usefixtures("kept")
class TestWatch:
    def test_each_step_ends_with_its_code_and_the_status_tells_of_all(self, dspex: Run) -> None:
        words = ("versions", "watch", "shop:Route", *ONCE)
        checked = dspex(*words, "--json")
        assert (checked.code, checked.json["kind"], checked.json["next"]) == (10, "checked", "optimize")
        offered = dspex(*words)
        assert offered.code == 12, offered.err
        assert "`dspex versions label shop:Route@2 production`" in offered.out
        waiting = dspex(*words)
        assert (waiting.code, "version 2 waits to be promoted" in waiting.out.replace("\n", " ")) == (0, True)
        assert dspex("versions", "label", "shop:Route@2", "production").code == 0
        well = dspex(*words)
        assert (well.code, "version 2: " in well.out) == (0, True), well.out
        steps = dspex("versions", "watch", "shop:Route", "--status", "--json").json["steps"]
        assert [one["kind"] for one in steps] == ["checked", "begun", "offered", "checked"]
        told = dspex("versions", "watch", "shop:Route@production", "--status").out
        assert "optimisation begun as run" in told

    def test_with_promotion_the_label_moves_and_data_that_is_gone_is_told(self, dspex: Run, folder: Path) -> None:
        words = ("versions", "watch", "shop:Route", *ONCE, "--promote")
        assert [dspex(*words).code for _ in range(2)] == [10, 11]
        assert dspex("versions", "label", "shop:Route", "--json").json["labels"] == {"production": 2}
        (folder / "rows.csv").rename(folder / "gone.csv")
        missed = dspex(*words)
        assert (missed.code, "rows.csv" in missed.out, "tried again" in missed.err) == (14, True, True)

    def test_what_cannot_be_watched_is_said(self, dspex: Run, folder: Path) -> None:
        for words, said in (
            (("shop:Route",), "Give --data"),
            (("shop:Route@staging", *ONCE), "Unknown label of shop:Route 'staging'"),
            (("shop:Fixed", *ONCE), "Unknown program with versions 'shop:Fixed'"),
            (("shop:Route", *ONCE, "--check-every", "soon"), "--check-every takes a number and one of s, m, h and d"),
            (("shop:Route", *ONCE, "--check-every", "0h"), "above 0 seconds"),
            (("shop:Route", *ONCE, "--rows", "10"), "at least 1 row and at most 10"),
            (("shop:Route", *ONCE, "--min-rows", "200", "--rows", "100"), "at least 1 row"),
            (("shop:Route", *ONCE, "--runtime", "moon"), "moon"),
            (("shop:Route", *ONCE, "--optimizer", "bes"), "Unknown optimizer 'bes'"),
            (("shop:Route", *ONCE, "--budget-usd", "-1"), "budget_usd must be above 0"),
            (("shop:Route", *ONCE, "--data", "none.csv"), "none.csv"),
            (("shop:Route", *ONCE, "--metric", "nope"), "nope"),
        ):
            found = dspex("versions", "watch", *words)
            assert (found.code, said in found.err.replace("\n", " ")) == (2, True), (words, found)
        assert dspex("versions", "watch", "shop:Route", "--status").out.startswith("production of shop:Route was never")

    def test_an_optimisation_killed_in_the_middle_is_resumed_by_its_run_id(
        self, dspex: Run, folder: Path, wait: Callable[..., None]
    ) -> None:
        words = ("versions", "watch", "shop:Slow", *ONCE, "--rows", "30")
        assert dspex(*words).code == 10
        process = subprocess.Popen([DSPEX, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(lambda: recorded_rows(folder / ".dspex" / "dspex.db") >= KILLED_AFTER, 60.0, "recorded rows")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=20)
        assert process.returncode == -signal.SIGKILL
        begun = dspex("versions", "watch", "shop:Slow", "--status", "--json").json["steps"][-1]
        assert begun["kind"] == "begun"
        done = dspex(*words, "--json")
        assert (done.code, done.json["run_id"]) == (12, begun["run_id"])
        assert len(dspex("sweeps", "list", "--json").json["sweeps"]) == 1
