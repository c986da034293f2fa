"""`dspex demo --json`: the whole path in one process tree, and nothing left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.data import load_data
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.intervals import interval

_MARK = "DSPEX_TEST_RUN"


def marked_processes(mark: str) -> list[str]:
    """Return the command lines of processes that inherited the mark: Ray's daemons leave their session and group."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes()
            if f"{_MARK}={mark}".encode() in environment.split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # no process, another user's, or gone by now
    return [line for line in found if line]  # a zombie has no command line


def test_the_demos_data_is_as_large_and_as_broad_as_promised() -> None:
    data = load_data(DATA, ShopRoute)
    assert len(data) >= 400
    assert len({example.output["intent"] for example in data.examples}) == 12


@pytest.mark.ray
@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_the_demo_shows_the_whole_path_loses_nothing_and_cleans_up_after_itself(tmp_path: Path, wait: Any) -> None:
    mark = uuid.uuid4().hex
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "dspex_ray.cli.main", "demo", "--json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, _MARK: mark},
        timeout=150,
    )
    took = time.monotonic() - started
    assert ended.returncode == 0, ended.stderr[-3000:]
    lines = ended.stdout.splitlines()
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert set(told) == {
        "baseline_accuracy",
        "optimized_accuracy",
        "test_rows",
        "trials",
        "agents",
        "killed_pid",
        "requests_sent",
        "requests_lost",
        "recovery_ms",
        "endpoint_url",
        "http_status",
        "http_answer",
        "cost_usd",
        "wall_s",
    }
    assert told["requests_sent"] >= 500
    assert told["requests_lost"] == 0
    assert 0 < told["recovery_ms"] < 5000
    right = round(told["baseline_accuracy"] * told["test_rows"])
    _, baseline_high = interval([1.0] * right + [0.0] * (told["test_rows"] - right))
    assert told["optimized_accuracy"] > baseline_high
    assert told["test_rows"] >= 100
    assert (told["agents"], told["http_status"], told["cost_usd"]) == (7, 200, 0.0)
    assert told["trials"] >= 5
    assert told["http_answer"]["intent"] == "where_is_my_parcel"
    assert told["endpoint_url"].startswith("http://127.0.0.1:")
    assert told["killed_pid"] > 1
    assert told["wall_s"] <= took < 90
    wait(lambda: not marked_processes(mark), what=f"the end of the demo's processes ({marked_processes(mark)})")
    assert list(tmp_path.iterdir()) == []
