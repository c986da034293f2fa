"""Chaos: kill -9 of workers, coordinator, run and driver of a sweep on Ray. It ends as the one nobody disturbed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_agents import SlowScorer, score_of, search, team
from test_ray_runtime import process_of

from dspex_agents import RunPlan, SupervisorSpec, System, SystemSpec
from dspex_agents.database import Database
from dspex_agents.roles.plan import Outcome
from dspex_agents.runtime.ray_runtime import start_ray_system
from dspex_agents.teamwork.run_messages import RunLostError
from dspex_coordination import RowsEvaluated, SweepResult, SweepStore

pytestmark = [pytest.mark.ray, pytest.mark.chaos]
Wait = Callable[..., None]
HERE = Path(__file__).parent
SEARCH: dict[str, Any] = {"optimizer": "genetic", "trials": 16, "rows": 20}
ROWS = 16 * 20


def decisions(store: SweepStore, run_id: str) -> list[tuple[str, int | None, str]]:
    return [(event.kind, event.trial, repr(sorted(event.data.items()))) for event in store.events(run_id)]


def undisturbed(url: str) -> tuple[SweepResult, list[tuple[str, int | None, str]]]:
    """Run the search in this process, one unit at a time."""
    sweep = search(url, "calm", **SEARCH)
    sweep.open()
    while not sweep.finished():
        for work in sweep.pull(1, 1.0):
            rows = tuple(score_of(work.payload.candidate_values, row) for row in work.payload.rows)
            sweep.push([Outcome(work.id, RowsEvaluated(rows), worker="w")], 2.0)
    return sweep.result(), decisions(SweepStore(Database(url)), "calm")


def spec() -> SystemSpec:
    top = SupervisorSpec(id="top", children=tuple(team(3, SlowScorer, alone=True)), intensity=50)
    return SystemSpec(name=f"test-sweep-{os.getpid()}-{time.monotonic_ns()}", supervisor=top, spare_hosts=2)


def order(url: str, run_id: str) -> RunPlan:
    return RunPlan(run_id, search, {"url": url, "run_id": run_id, **SEARCH})


def check(store: SweepStore, run_id: str, result: SweepResult, url: str) -> None:
    calm, said = undisturbed(url)
    assert (result.best, result.trials, result.cost_usd) == (calm.best, calm.trials, calm.cost_usd)
    assert (result.status, result.isolated) == ("finished", ())
    assert decisions(store, run_id) == said
    assert store.load(run_id).rows == ROWS


def recorded(store: SweepStore, run_id: str) -> int:
    record = store.find(run_id)
    return 0 if record is None else record.rows


@pytest.mark.timeout(120)
def test_workers_coordinator_and_run_killed_in_the_middle_change_nothing(
    ray_cluster: str, tmp_path: Path, wait: Wait
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store, rng = SweepStore(Database(url)), random.Random(1)
    victims = ["w1", "coord:r", "w2", "coord", "w3"]
    moments = sorted(rng.sample(range(10, ROWS - 60), len(victims)))
    with start_ray_system(spec()) as system:
        answers: list[SweepResult] = []
        thread = threading.Thread(target=lambda: answers.append(persistent(system, order(url, "r"))))
        thread.start()
        for victim, moment in zip(victims, moments, strict=True):
            wait(lambda moment=moment: recorded(store, "r") >= moment, 40.0, f"row {moment}")
            os.kill(living(system, victim), signal.SIGKILL)
        thread.join(90)
    (result,) = answers
    check(store, "r", result, url)
    store.database.close()


def persistent(system: System, plan: RunPlan) -> SweepResult:
    """Ask until the run has its result; one that was lost with its process goes on from its journal."""
    while True:
        with contextlib.suppress(RunLostError):
            result: SweepResult = system.ask("coord", plan, retry_safe=True, timeout_s=90)
            return result


def living(system: System, agent: str) -> int:
    """Return the process of an agent once it has one; that of a run comes and goes."""
    deadline = time.monotonic() + 20
    while agent not in {node.id for node in system.tree().agents()}:
        assert time.monotonic() < deadline, f"{agent} is nowhere"
        time.sleep(0.02)
    return process_of(system, agent)


@pytest.mark.timeout(120)
def test_a_killed_driver_leaves_a_run_that_the_next_one_ends(ray_cluster: str, tmp_path: Path, wait: Wait) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = SweepStore(Database(url))
    script = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {[str(HERE), str(HERE.parent / "support"), str(HERE.parent / "agents_tests")]!r}
        from test_sweep_chaos_ray import order, spec
        from dspex_agents.runtime.ray_runtime import connect_cluster, start_ray_system
        connect_cluster({ray_cluster!r})
        start_ray_system(spec()).ask("coord", order({url!r}, "r"), timeout_s=90)
        """
    )
    driver = subprocess.Popen([sys.executable, "-c", script])
    moment = random.Random(2).randrange(60, 200)
    wait(lambda: recorded(store, "r") >= moment, 60.0, f"row {moment}")
    driver.kill()
    driver.wait()
    assert quiet(store, wait) < ROWS
    assert store.load("r").status == "running"
    with start_ray_system(spec()) as system:
        result = system.ask("coord", order(url, "r"), retry_safe=True, timeout_s=90)
    check(store, "r", result, url)
    store.database.close()


def quiet(store: SweepStore, wait: Wait) -> int:
    """Wait until the orphaned system has ended: nothing is written for a while."""
    seen: list[tuple[float, int]] = []

    def still() -> bool:
        rows = recorded(store, "r")
        if not seen or seen[-1][1] != rows:
            seen.append((time.monotonic(), rows))
        return time.monotonic() - seen[-1][0] > 1.5

    wait(still, 30.0, "the end of the system of a killed driver")
    return seen[-1][1]


@pytest.mark.timeout(180)
def test_the_loss_of_a_node_in_the_middle_changes_nothing() -> None:
    script = str(HERE.parent / "support" / "sweep_node_loss.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the same candidate, scores, decisions and bill as without the loss" in done.stdout.splitlines()
