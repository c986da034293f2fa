"""`dspex sweeps watch | pause | resume | cancel | extend` on stores that real sweeps filled."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sweep_runs import drive, fill, sweep_of

from dspex_agents.clock import ManualClock
from dspex_agents.database import Database
from dspex_coordination import SweepStore
from dspex_ray.cli.sweeps.watch import _follow

Run = Callable[..., Any]
STORE = ("--store", "runs.db")


@contextmanager
def stored(folder: Path) -> Iterator[SweepStore]:
    database = Database(str(folder / "runs.db"))
    try:
        yield SweepStore(database)
    finally:
        database.close()


def asked(folder: Path, run_id: str = "run-1") -> list[tuple[str, dict[str, Any]]]:
    with stored(folder) as store:
        return [(request.kind, dict(request.data)) for request in store.requests(run_id)]


def set_status(folder: Path, status: Any, now: float | None = None) -> None:
    with stored(folder) as store:
        seen = store.load("run-1").heartbeat_at or 0.0
        store.set_status("run-1", status, seen if now is None else now)


# requests -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "status", "kind", "data"),
    [
        (("pause",), "running", "pause", {}),
        (("resume",), "paused", "resume", {}),
        (("cancel",), "running", "cancel", {}),
        (("cancel",), "paused", "cancel", {}),
        (("extend", "--trials", "25"), "running", "extend", {"trials": 25}),
        (("extend", "--trials", "25"), "paused", "extend", {"trials": 25}),
    ],
)
def test_what_is_asked_of_a_driven_run_is_kept_for_its_driver(
    dspex: Run, folder: Path, words: tuple[str, ...], status: str, kind: str, data: dict[str, Any]
) -> None:
    fill(folder / "runs.db", units=3)
    set_status(folder, status)
    command, *options = words
    told = dspex("sweeps", command, "run-1", *options, *STORE, "--json")
    assert told.code == 0
    assert told.json == {"asked": kind, "run_id": "run-1", "status": status, **data}
    assert asked(folder) == [(kind, data)]
    said = dspex("sweeps", command, "run-1", *options, *STORE)
    assert said.out == f"Asked run-1 to {kind}; its driver hears it within seconds.\n"


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        ("pause", "finished", "'run-1' is finished, so it cannot be paused; that takes one that is running."),
        ("pause", "paused", "'run-1' is paused, so it cannot be paused"),
        ("resume", "running", "'run-1' is running, so it cannot be resumed; that takes one that is paused."),
        ("cancel", "cancelled", "so it cannot be cancelled; that takes one that is running or paused."),
        ("resume", "budget", "it has ended (budget). Go on with: dspex optimize shop:Route --data ... --resume run-1"),
    ],
)
def test_what_a_run_cannot_do_in_its_status_is_refused(
    dspex: Run, folder: Path, command: str, status: str, told: str
) -> None:
    fill(folder / "runs.db", units=3)
    set_status(folder, status)
    said = dspex("sweeps", command, "run-1", *STORE)
    assert said.code == 2
    assert told in said.err
    assert asked(folder) == []


def test_a_run_without_a_driver_hears_nothing_and_says_how_it_is_resumed(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", units=3, clock=ManualClock(1000.0))
    said = dspex("sweeps", "resume", "run-1", *STORE, "--json")
    assert said.code == 2
    assert said.json["error"]["message"].endswith("dspex optimize shop:Route --data ... --resume run-1")
    assert "its driver is gone" in said.json["error"]["message"]
    for command in ("pause", "cancel"):
        refused = dspex("sweeps", command, "run-1", *STORE)
        assert refused.code == 2
        assert "has no driver any more" in refused.err
    assert asked(folder) == []


def test_a_stale_run_is_extended_for_the_time_when_it_is_resumed(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", units=3, clock=ManualClock(1000.0))
    said = dspex("sweeps", "extend", "run-1", "--trials", "25", *STORE)
    assert said.code == 0
    assert "it is heard when the run goes on: dspex optimize shop:Route --data ... --resume run-1" in said.out
    assert asked(folder) == [("extend", {"trials": 25})]
    assert dspex("sweeps", "show", "run-1", *STORE, "--json").json["requests"][0]["heard_at"] is None
    assert 'extend {"trials": 25}, not heard yet' in dspex("sweeps", "show", "run-1", *STORE).out


def test_an_ended_run_is_not_extended_but_resumed_with_more(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", trials=2)
    said = dspex("sweeps", "extend", "run-1", "--trials", "25", *STORE)
    assert said.code == 2
    assert "Go on with: dspex optimize shop:Route --data ... --resume run-1 --trials 25" in said.err
    assert asked(folder) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "Say what to extend it to: --trials or --budget-usd."),
        (("--trials", "12"), "trials is 12 already, got 12."),
        (("--trials", "5", "--budget-usd", "3"), "trials is 12 already, got 5; it has no limit of budget_usd."),
        (("--trials", "0"), "--trials"),
    ],
)
def test_an_extension_by_nothing_is_refused(dspex: Run, folder: Path, options: tuple[str, ...], told: str) -> None:
    fill(folder / "runs.db", units=3)
    said = dspex("sweeps", "extend", "run-1", *options, *STORE)
    assert said.code == 2
    assert told in said.err
    assert asked(folder) == []


def test_a_driver_obeys_what_the_commands_ask(dspex: Run, folder: Path) -> None:
    clock = ManualClock(time.time())
    with stored(folder) as store:
        sweep = sweep_of(store, clock=clock)
        sweep.open()
        drive(sweep, units=3, clock=clock)
        for command, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
            assert dspex("sweeps", command, "run-1", *STORE).code == 0
            clock.advance(1.0)
            sweep.revisit(clock.now())
            assert dspex("sweeps", "list", *STORE, "--json").json["sweeps"][0]["status"] == status
        heard = dspex("sweeps", "show", "run-1", *STORE, "--json").json["requests"]
    assert [(one["kind"], one["heard_at"] is None, one["refused"]) for one in heard] == [
        ("pause", False, None),
        ("resume", False, None),
        ("cancel", False, None),
    ]


# watch ----------------------------------------------------------------------------------------------------------
def test_watch_follows_a_run_to_its_end_with_a_line_for_each_change(dspex: Run, folder: Path) -> None:
    with stored(folder) as store:
        sweep = sweep_of(store)
        sweep.open()
        drive(sweep, units=4)
        driver = threading.Thread(target=drive, args=(sweep,))
        driver.start()
        said = dspex("sweeps", "watch", "run-1", "--interval", "0.1", *STORE)
        driver.join(30)
    lines = said.out.splitlines()
    assert said.code == 0
    assert "run-1 finished, 12/12 trials, 240 rows, best " in lines[-1]
    assert len(set(lines)) == len(lines)


def test_on_a_terminal_the_last_look_stands(dspex: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder / "runs.db", trials=3)
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    monkeypatch.setattr(sys.modules[_follow.__module__], "out", screen)
    assert dspex("sweeps", "watch", "run-1", *STORE).code == 0
    written = screen.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    assert "finished" in written
    assert "3/3" in written


def test_watch_as_json_is_silent_until_the_end(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", trials=3)
    said = dspex("sweeps", "watch", "run-1", *STORE, "--json")
    assert (said.code, said.json["status"], said.json["trials_done"]) == (0, "finished", 3)


def test_ctrl_c_ends_the_watching_and_leaves_the_run_alone(
    dspex: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(folder / "runs.db", units=3)
    looks: list[str] = []
    load = SweepStore.load

    def looked(store: SweepStore, run_id: str) -> Any:
        looks.append(run_id)
        if len(looks) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return load(store, run_id)

    monkeypatch.setattr(SweepStore, "load", looked)
    before = signal.getsignal(signal.SIGINT)
    said = dspex("sweeps", "watch", "run-1", "--interval", "0.1", *STORE)
    assert (said.code, said.err, len(looks)) == (0, "", 2)
    assert signal.getsignal(signal.SIGINT) is before
    assert asked(folder) == []
    assert dspex("sweeps", "list", *STORE, "--json").json["sweeps"][0]["status"] == "running"


def test_watch_ends_with_1_where_the_driver_is_gone_or_the_run_failed(dspex: Run, folder: Path) -> None:
    fill(folder / "runs.db", units=3, clock=ManualClock(1000.0))
    said = dspex("sweeps", "watch", "run-1", *STORE)
    assert said.code == 1
    assert "run-1 stale, 1/12 trials, 30 rows, best " in said.out
    assert "The driver of run-1 is gone. Go on with:\n  dspex optimize shop:Route --data ... --resume run-1" in said.err
    set_status(folder, "failed")
    assert dspex("sweeps", "watch", "run-1", *STORE, "--json").code == 1
