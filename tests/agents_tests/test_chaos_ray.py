"""Chaos: kill -9 of each kind of process while two hundred requests run. Nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runtime_contract import spec_of
from sample_agents import Squarer, SumOfSquares
from test_ray_runtime import answers, process_of, root_pid, running

from dspex_agents import ChildSpec, CoordinatorAgent, MonitorAgent, RunPlan, System, TaskAgent, TreeNode
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.runtime.ray_runtime import find_ray_system, start_ray_system

pytestmark = [pytest.mark.ray, pytest.mark.chaos]
Wait = Callable[..., None]
REQUESTS = 200
WORKERS = ("w1", "w2", "w3", "w4")
HERE = Path(__file__).parent


def tree_spec() -> object:
    """Two task agents with processes of their own, two that share one, a coordinator and a monitor."""

    def task(name: str, isolation: str) -> ChildSpec:
        kwargs = {"worker": Squarer, "concurrency": 8}
        return ChildSpec(id=name, start=TaskAgent, kwargs=kwargs, isolation=isolation, host="tasks")

    return spec_of(
        *(task(name, "own") for name in WORKERS[:2]),
        *(task(name, "shared") for name in WORKERS[2:]),
        ChildSpec(id="coord", start=CoordinatorAgent, kwargs={"members": WORKERS}, isolation="own"),
        ChildSpec(id="monitor", start=MonitorAgent, kwargs={"sampling": Sampling(interval_s=0.2)}, isolation="own"),
        spare_hosts=1,
    )


@pytest.fixture
def system(ray_cluster: str, wait: Wait) -> Iterator[System]:
    with start_ray_system(tree_spec()) as running_system:
        yield running_system
        whole(running_system, wait)
        pids = {node.pid for node in running_system.tree().agents()}
        root = root_pid(running_system)
    wait(lambda: not any(map(running, {*pids, root})), what="the end of every process of the system")


def whole(system: System, wait: Wait) -> None:
    """Wait until the tree is as specified, every agent in it alive and each exactly once."""

    def is_whole() -> bool:
        nodes: list[TreeNode] = system.tree().agents()
        named = [node.id for node in nodes] == [*WORKERS, "coord", "monitor"]
        return named and all(node.agent is not None for node in nodes)

    wait(lambda: answers(system) and is_whole(), what="the whole tree")


class Load:
    """Two hundred requests under way, each to an agent by its number; `results` has each answer under its request."""

    def __init__(self, system: System) -> None:
        self.results: dict[int, list[object]] = {number: [] for number in range(REQUESTS)}
        self._system = system
        self._under_way = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._under_way.wait(30)

    async def _run(self) -> None:
        async def ask(number: int) -> None:
            body = ("slow", 0.01 + number % 7 / 100, number)
            answer = await self._system.aask(WORKERS[number % 4], body, retry_safe=True, timeout_s=40)
            self.results[number].append(answer)
            if number == REQUESTS // 4:
                self._under_way.set()

        await asyncio.gather(*map(ask, range(REQUESTS)))

    def check(self) -> None:
        """Wait for the end: every request has its own answer, once."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.results == {number: [number] for number in range(REQUESTS)}


@pytest.mark.parametrize("victim", ["w1", "w3", "monitor"])
def test_no_request_is_lost_when_the_process_of_an_agent_is_killed(system: System, victim: str) -> None:
    pid = process_of(system, victim)
    load = Load(system)
    os.kill(pid, signal.SIGKILL)
    load.check()


def test_no_request_is_lost_when_the_root_is_killed_and_no_agent_is_restarted(system: System, wait: Wait) -> None:
    epochs = {node.id: node.agent.epoch for node in system.tree().agents() if node.agent}
    load = Load(system)
    os.kill(root_pid(system), signal.SIGKILL)
    load.check()
    whole(system, wait)
    assert {node.id: node.agent.epoch for node in system.tree().agents() if node.agent} == epochs


def test_no_request_is_lost_when_the_root_and_an_agent_are_killed_together(system: System) -> None:
    pids = (root_pid(system), process_of(system, "w2"))
    load = Load(system)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    load.check()


def test_a_plan_of_a_killed_coordinator_gives_its_result_once_it_is_back(system: System) -> None:
    results: list[object] = []
    order = RunPlan("r", SumOfSquares, {"n": REQUESTS, "pause_s": 0.02})
    asker = threading.Thread(target=lambda: results.append(system.ask("coord", order, retry_safe=True, timeout_s=50)))
    asker.start()
    while system.status("coord").in_flight == 0 or not sum(system.status(w).handled for w in WORKERS):
        pass
    os.kill(process_of(system, "coord"), signal.SIGKILL)
    asker.join(60)
    total = sum(number * number for number in range(REQUESTS + 1))
    assert results == [{"sum": total, "done": REQUESTS, "errors": []}]


def test_every_process_killed_in_turn_under_load_costs_no_request(system: System, wait: Wait) -> None:
    for victim in ("w1", "w4", "w2"):
        load = Load(system)
        os.kill(process_of(system, victim), signal.SIGKILL)
        load.check()
        whole(system, wait)


def test_a_detached_system_outlives_its_killed_driver_and_serves_the_next(ray_cluster: str, wait: Wait) -> None:
    script = textwrap.dedent(
        f"""
        import sys
        sys.path[:0] = {[str(HERE), str(HERE.parent / "support")]!r}
        from test_chaos_ray import Load, tree_spec
        from dspex_agents.runtime.ray_runtime import connect_cluster, start_ray_system
        connect_cluster({ray_cluster!r})
        system = start_ray_system(tree_spec(), detached=True)
        load = Load(system)
        print(system.name, flush=True)
        load.check()
        sys.stdin.read()
        """
    )
    driver = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    name = driver.stdout.readline().strip()
    driver.kill()
    driver.wait()
    driver.stdin.close()
    driver.stdout.close()
    with find_ray_system(name) as system:
        whole(system, wait)
        Load(system).check()
        pids = {node.pid for node in system.tree().agents()}
    wait(lambda: not any(map(running, pids)), what="the end of every process of the system")


@pytest.mark.timeout(180)
def test_the_loss_of_a_node_costs_no_request_and_its_agents_come_back_elsewhere() -> None:
    script = str(HERE.parent / "support" / "node_loss.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "every request answered once, every agent on a living node" in done.stdout.splitlines()
