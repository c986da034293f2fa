"""A search that is killed with SIGKILL at random moments and resumed each time, beside one that nobody disturbs."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from side import Figures

from optimizers_bench.server import World
from optimizers_bench.tasks import TASKS

_LOOK_S, _RUN_S = 0.005, 300.0
_UNIT_ROWS, _UNITS = 16, 2  # rows of a unit of work, and units that a worker has at once


def optimized(
    system: str, task: str, seed: int, urls: dict[str, str], budget: int, workers: int, kills: int = 10
) -> Figures:
    """Search undisturbed, then killed; the moment of a kill is a number of calls that the server has counted.

    `again` is how many more calls the killed search made: of them, `in_flight` is how many were open when it was killed
    (by the ledger, which calls them unknown), and the others were answered and their unit of rows not yet recorded.
    `most_again` is what a kill can cost: the calls for all rows that the workers have at once.
    """
    server, started = World(urls["counted"].removesuffix("/v1")), time.perf_counter()
    order = {"system": system, "task": task, "seed": seed, "url": urls["counted"], "budget": budget, "workers": workers}
    with tempfile.TemporaryDirectory() as folder:
        calm = _ended(_process({**order, "store": f"sqlite:///{Path(folder) / 'calm.db'}"}))
        whole = server.counted()
        moments = sorted(random.Random(f"kill/{seed}").sample(range(1, whole["calls"]), kills))
        order["store"] = f"sqlite:///{Path(folder) / 'killed.db'}"
        for moment in moments:
            _kill_at(_process(order), server, max(whole["calls"] + moment, server.counted()["calls"] + 1))
        resumed = _ended(_process(order))
        counted = server.counted()
    calm_ledger, ledger = calm.pop("ledger"), resumed.pop("ledger")
    return {
        "wall_s": time.perf_counter() - started,
        "test": float(calm == resumed),
        "calm": calm,
        "resumed": resumed,
        "kills": kills,
        "again": counted["calls"] - 2 * whole["calls"],
        "in_flight": ledger["unknown"],
        "most_again": kills * workers * _UNITS * _UNIT_ROWS * len(TASKS[task].calls),
        "ledger_usd": [calm_ledger["usd"], ledger["usd"]],
        "server_usd": [whole["nano_usd"] / 1e9, (counted["nano_usd"] - whole["nano_usd"]) / 1e9],
    }


def _process(order: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "optimizers_bench.kill_run", json.dumps(order)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a search tells at its end."""
    told, _ = process.communicate(timeout=_RUN_S)
    found: dict[str, Any] = json.loads(told)
    return found


def _kill_at(process: subprocess.Popen[str], server: World, moment: int) -> None:
    """Kill a search once the server has counted so many calls. Raises RuntimeError if it ends before."""
    deadline = time.monotonic() + _RUN_S
    while process.poll() is None and server.counted()["calls"] < moment and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    if process.poll() is not None:
        raise RuntimeError(f"{process.args!r} ended before it was to be killed, at call {moment}")
    process.kill()
    process.communicate()
