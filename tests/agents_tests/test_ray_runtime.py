"""The runtime contract on a real Ray cluster, and what only processes can show."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from children_contract import ChildrenContract
from runtime_contract import RuntimeContract, Start, echo, spec_of

from dspex_agents import RuntimeUnavailableError, SpecError, System, SystemSpec, SystemStoppedError
from dspex_agents.runtime.ray_runtime import find_ray_system, start_ray_system

pytestmark = pytest.mark.ray


def process_of(system: System, agent: str) -> int:
    """Return the process that the agent lives in, as soon as it does: pid 0 would mean our own group to `kill`."""
    deadline = time.monotonic() + 20
    while not (pid := next(node.pid for node in system.tree().agents() if node.id == agent)):
        assert time.monotonic() < deadline, f"{agent} lives nowhere"
    return pid


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("ray_cluster")
class TestRayRuntime(RuntimeContract, ChildrenContract):
    @pytest.fixture
    def start(self) -> Iterator[Start]:
        with contextlib.ExitStack() as stack:

            def begin(spec: SystemSpec) -> System:
                return stack.enter_context(start_ray_system(spec))

            yield begin

    def kill_host_of(self, system: System, agent: str) -> None:
        os.kill(process_of(system, agent), signal.SIGKILL)

    def test_an_agent_of_its_own_lives_in_another_process_than_its_neighbours(self, start: Start) -> None:
        system = start(spec_of(echo("a", isolation="own"), echo("b"), echo("c")))
        assert system.ask("b", "pid") == system.ask("c", "pid") != system.ask("a", "pid")

    def test_a_name_in_use_is_refused(self, start: Start) -> None:
        spec = spec_of(echo())
        start(spec)
        with pytest.raises(SpecError, match="runs already"):
            start_ray_system(spec)

    def test_a_start_function_that_does_not_pickle_is_refused_before_anything_starts(self) -> None:
        import threading  # noqa: PLC0415

        lock = threading.Lock()
        from dspex_agents import ChildSpec  # noqa: PLC0415

        with pytest.raises(SpecError, match="cannot travel"):
            start_ray_system(spec_of(ChildSpec(id="a", start=lambda: lock)))

    def test_a_running_system_is_found_by_name_and_an_absent_one_is_not(self, start: Start) -> None:
        spec = spec_of(echo())
        start(spec)
        assert find_ray_system(spec.name).ask("echo", 5) == 5
        with pytest.raises(RuntimeUnavailableError, match="No system named 'nowhere'"):
            find_ray_system("nowhere")

    def test_no_process_is_left_when_a_system_stops(self, start: Start, wait: object) -> None:
        system = start(spec_of(echo("a", isolation="own"), echo("b"), spare_hosts=1))
        pids = {process_of(system, "a"), process_of(system, "b")}
        system.stop()
        wait(lambda: not any(map(running, pids)), what="the end of all host processes")


@pytest.mark.chaos
@pytest.mark.usefixtures("ray_cluster")
class TestRootDeath:
    def test_a_killed_root_is_rebuilt_and_adopts_its_agents_without_restarting_them(self, wait: object) -> None:
        with start_ray_system(spec_of(echo("a", isolation="own"), echo("b"), spare_hosts=1)) as system:
            before = {name: (system.ask(name, "pid"), system.ask(name, "epoch")) for name in ("a", "b")}
            os.kill(root_pid(system), signal.SIGKILL)
            wait(lambda: answers(system), what="the rebuilt root")
            assert {n: (system.ask(n, "pid"), system.ask(n, "epoch")) for n in ("a", "b")} == before
            os.kill(before["a"][0], signal.SIGKILL)
            assert system.ask("a", "pid", retry_safe=True) != before["a"][0]

    def test_hosts_end_by_themselves_when_the_driver_is_killed(self, wait: object, ray_cluster: str) -> None:
        script = textwrap.dedent(
            f"""
            import sys, time
            sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]!r}
            from runtime_contract import echo, spec_of
            from dspex_agents.runtime.ray_runtime import connect_cluster, start_ray_system
            connect_cluster({ray_cluster!r})
            system = start_ray_system(spec_of(echo("orphan-a", isolation="own"), echo("orphan-b")))
            print(system.ask("orphan-a", "pid"), system.ask("orphan-b", "pid"), flush=True)
            time.sleep(600)
            """
        )
        driver = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        pids = [int(part) for part in driver.stdout.readline().split()]
        assert all(map(running, pids))
        driver.kill()
        driver.wait()
        driver.stdout.close()
        wait(lambda: not any(map(running, pids)), 30.0, "the end of the killed driver's hosts")


def root_pid(system: System) -> int:
    import ray  # noqa: PLC0415

    pid = ray.get(system._root._handle.__ray_call__.remote(lambda _self: os.getpid()))
    assert isinstance(pid, int)
    return pid


def answers(system: System) -> bool:
    try:
        return system.tree().status == "running"
    except SystemStoppedError:
        return False
