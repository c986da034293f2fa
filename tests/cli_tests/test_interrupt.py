"""Ctrl-C in an optimisation: it ends in order, nothing is left behind, and the printed command goes on."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.store import open_store

DSPEX = Path(sys.executable).with_name("dspex")
MARK = "DSPEX_TEST_MARK"
WORKERS, ROWS_IN_A_UNIT = 2, 16
ROWS_BEFORE = 30
Wait = Callable[..., None]


class Session:
    """Commands in the user's folder whose processes, and all they start, carry one mark in their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex

    def start(self, words: list[str]) -> subprocess.Popen[str]:
        # a group of its own, as a shell gives to a job: Ctrl-C reaches every process of it
        return subprocess.Popen(
            [str(DSPEX), *words],
            cwd=self.folder,
            env={**os.environ, MARK: self.mark, "RAY_ADDRESS": "local"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def living(self) -> list[str]:
        """Return the command lines of all processes with the mark that are no zombies."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes()
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except OSError:
                continue  # it ended between the listing and the look
            if marked and words:
                found.append(words[:120])
        return found

    def end_all(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue


@pytest.fixture
def session(folder: Path) -> Iterator[Session]:
    made = Session(folder)
    yield made
    made.end_all()


def words_of(runtime: str, store: str) -> list[str]:
    data = ["--data", "rows.csv", "--trials", "6", "--workers", str(WORKERS), "--seed", "3"]
    return ["optimize", "shop:Slow", *data, "--runtime", runtime, "--store", store, "--json"]


def recorded_rows(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM sweep_rows").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the tables are being made


def interrupted(session: Session, runtime: str, wait: Wait, presses: int) -> dict[str, Any]:
    """Start an optimisation, press Ctrl-C once rows are recorded, and return the error it told."""
    process = session.start(words_of(runtime, "broken.db"))
    wait(
        lambda: recorded_rows(session.folder / "broken.db") >= ROWS_BEFORE or process.poll() is not None,
        60.0,
        f"{ROWS_BEFORE} recorded rows",
    )
    for _ in range(presses):
        os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    told: dict[str, Any] = json.loads(out)["error"]
    return told


def finished(session: Session, words: list[str]) -> dict[str, Any]:
    process = session.start(words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    result: dict[str, Any] = json.loads(out)
    return result


def check_resumes(session: Session, told: dict[str, Any]) -> None:
    """Run the command of the message and compare with an unbroken run of the same seed in another store.

    That one runs in its own process, since where the agents live must not change a result.
    """
    command = told["message"].split("Go on with:\n", 1)[1].strip()
    program, *words = shlex.split(command)
    assert program == "dspex"
    resumed, whole = finished(session, words), finished(session, words_of("in-process", "whole.db"))
    assert resumed["run_id"] == re.search(r"Run (\S+) was interrupted", told["message"])[1]  # type: ignore[index]
    compared = ("score", "low", "high", "baseline", "values", "trials", "cost_usd")
    assert {name: resumed[name] for name in compared} == {name: whole[name] for name in compared}
    # what was in flight at the interruption was paid for, and is done again
    again = calls(session, "broken.db", resumed) - calls(session, "whole.db", whole)
    assert 0 <= again <= WORKERS * ROWS_IN_A_UNIT


def calls(session: Session, store: str, result: dict[str, Any]) -> int:
    kept = open_store(str(session.folder / store))
    counted = kept.totals(run_id=result["run_id"]).calls
    assert counted == kept.totals().calls
    kept.database.close()
    return counted


@pytest.mark.timeout(180)
def test_ctrl_c_in_process_tells_the_command_that_goes_on_to_the_same_result(session: Session, wait: Wait) -> None:
    told = interrupted(session, "in-process", wait, presses=1)
    assert told["type"] == "InterruptedRunError"
    assert told["exit_code"] == 130
    check_resumes(session, told)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_ctrl_c_on_ray_leaves_no_process_and_the_printed_command_goes_on_to_the_same_result(
    session: Session, wait: Wait
) -> None:
    told = interrupted(session, "ray", wait, presses=1)
    wait(lambda: not session.living(), 15.0, "the end of every process of the interrupted command")
    check_resumes(session, told)
    wait(lambda: not session.living(), 15.0, "the end of every process of the finished commands")


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_ctrl_c_pressed_twice_on_ray_leaves_no_process_either(session: Session, wait: Wait) -> None:
    told = interrupted(session, "ray", wait, presses=2)
    assert "Go on with:" in told["message"]
    wait(lambda: not session.living(), 15.0, "the end of every process of the interrupted command")


def ray_is_starting(session: Session) -> bool:
    return any("raylet" in words for words in session.living())


@pytest.mark.ray
@pytest.mark.timeout(120)
def test_ctrl_c_while_ray_is_starting_leaves_no_process_and_promises_no_resumption(
    session: Session, wait: Wait
) -> None:
    process = session.start(words_of("ray", "early.db"))
    wait(lambda: ray_is_starting(session) or process.poll() is not None, 60.0, "a raylet")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert json.loads(out)["error"]["message"] == "Interrupted; there is nothing to resume."
    assert "Traceback" not in err
    wait(lambda: not session.living(), 15.0, "the end of every process of the interrupted command")


@pytest.mark.ray
@pytest.mark.timeout(120)
def test_an_error_in_the_middle_of_a_search_on_ray_is_told_and_leaves_no_process(session: Session, wait: Wait) -> None:
    words = [word.replace("shop:Slow", "shop:Stops") for word in words_of("ray", "stops.db")]
    process = session.start(words)
    out, err = process.communicate(timeout=100)
    assert process.returncode in {1, 2}, (out, err)
    assert "build it first" in json.loads(out)["error"]["message"]
    wait(lambda: not session.living(), 15.0, "the end of every process")
