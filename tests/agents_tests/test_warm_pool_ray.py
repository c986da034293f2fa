"""The warm pool: systems on processes that stood by, and what happens when any of them, or the pool, is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runtime_contract import echo, spec_of
from test_ray_runtime import answers, process_of, root_pid, running

from dspex_agents import SpecError, System
from dspex_agents.runtime.ray_runtime import cool_down, ray_systems, start_ray_system, warm_up

pytestmark = [pytest.mark.ray]
Wait = Callable[..., None]
HERE = Path(__file__).parent


@pytest.fixture
def pool(ray_cluster: str, wait: Wait) -> Iterator[None]:
    """Keep two hosts ready; afterwards the pool is gone, and all its processes with it."""
    assert warm_up(2) == 2
    pids = set(standing_by().values())
    yield
    cool_down()
    wait(lambda: not any(map(running, pids)) and not pooled(), what="the end of all processes of the pool")


def pooled() -> list[str]:
    """Return the names of the pool and of every process that was its own, in use or not."""
    import ray  # noqa: PLC0415 - ray loads only where it is needed

    named: list[Any] = ray.util.list_named_actors(all_namespaces=True)  # dicts, with all_namespaces
    return [actor["name"] for actor in named if actor["name"].startswith("~warm/")]


def standing_by() -> dict[str, int]:
    """Return the process ids of the pool and of what it started, by name; those that die meanwhile are left out."""
    import ray  # noqa: PLC0415 - likewise
    from ray.exceptions import RayActorError  # noqa: PLC0415 - likewise

    pids: dict[str, int] = {}
    for name in pooled():
        try:
            handle = ray.get_actor(name, namespace="dspex")
            pid: Any = ray.get(handle.__ray_call__.remote(lambda _self: os.getpid()), timeout=10)
            pids[name] = pid
        except (ValueError, RayActorError):
            continue
    return pids


def two() -> System:
    return start_ray_system(spec_of(echo("a", isolation="own"), echo("b")))


@pytest.mark.usefixtures("pool")
def test_a_system_lives_on_the_processes_that_stood_by_and_the_pool_replaces_them(wait: Wait) -> None:
    ready = standing_by()
    with two() as system:
        used = {process_of(system, "a"), process_of(system, "b")}
        assert used <= set(ready.values())
        assert {node.host.split("@")[0] for node in system.tree().agents()} == {"own:a", "shared"}
        wait(lambda: len(set(standing_by().values()) - used) == 3, what="the pool with two new hosts")
        assert ray_systems() == [system.name]
    wait(lambda: not any(map(running, used)), what="the end of the hosts with their system")


@pytest.mark.usefixtures("pool")
def test_a_system_that_needs_more_than_the_pool_has_starts_the_others() -> None:
    ready = set(standing_by().values())
    children = [echo(f"e{number}", isolation="own") for number in range(4)]
    with start_ray_system(spec_of(*children)) as system:
        pids = {process_of(system, child.id) for child in children}
        assert len(pids) == 4
        assert len(pids & ready) == 2
        assert [system.ask(child.id, 7) for child in children] == [7] * 4


@pytest.mark.usefixtures("pool")
def test_agents_that_want_resources_do_not_take_from_the_pool() -> None:
    ready = set(standing_by().values())
    with start_ray_system(spec_of(echo("big", isolation="own", resources={"CPU": 1}))) as system:
        assert process_of(system, "big") not in ready
    assert ready <= set(standing_by().values())


@pytest.mark.usefixtures("pool")
def test_a_driver_with_another_search_path_does_not_get_processes_of_this_one(ray_cluster: str) -> None:
    ready = set(standing_by().values())
    script = f"""
        import sys
        sys.path[:0] = {["/nowhere", str(HERE), str(HERE.parent / "support")]!r}
        from runtime_contract import echo, spec_of
        from dspex_agents.runtime.ray_runtime import connect_cluster, start_ray_system
        connect_cluster({ray_cluster!r})
        with start_ray_system(spec_of(echo("elsewhere"))) as system:
            print(system.ask("elsewhere", "pid"))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) not in ready
    assert ready == set(standing_by().values())


@pytest.mark.usefixtures("ray_cluster")
def test_a_module_that_cannot_be_imported_is_told_and_leaves_nothing(wait: Wait) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        warm_up(1, preload=["no_such_module"])
    wait(lambda: not pooled(), what="the end of the pool")
    assert not cool_down()
    with pytest.raises(SpecError, match="hosts must be at least 1"):
        warm_up(0)


@pytest.mark.usefixtures("ray_cluster")
def test_a_pool_that_nobody_uses_ends_by_itself_with_its_processes(wait: Wait) -> None:
    warm_up(1, idle_s=1)
    pids = set(standing_by().values())
    wait(lambda: not pooled() and not any(map(running, pids)), what="the end of the pool")


@pytest.mark.chaos
@pytest.mark.usefixtures("pool")
class TestDeaths:
    def test_a_killed_pool_takes_those_with_it_that_stand_by_and_no_one_else(self, wait: Wait) -> None:
        with two() as system:
            before = {name: (system.ask(name, "pid"), system.ask(name, "epoch")) for name in ("a", "b")}
            used = {pid for pid, _ in before.values()}
            wait(lambda: len(set(standing_by().values()) - used) == 3, what="the pool with two new hosts")
            others = standing_by()
            os.kill(others["~warm/pool"], signal.SIGKILL)
            waiting = set(others.values()) - used
            wait(lambda: not any(map(running, waiting)), what="the end of all that stood by")
            assert {name: (system.ask(name, "pid"), system.ask(name, "epoch")) for name in before} == before
            with two() as next_one:
                assert next_one.ask("a", 1) == 1
        assert warm_up(1) == 1

    def test_a_killed_process_that_stood_by_is_replaced(self, wait: Wait) -> None:
        ready = standing_by()
        victim = next(pid for name, pid in ready.items() if name != "~warm/pool")
        os.kill(victim, signal.SIGKILL)
        wait(lambda: len(standing_by()) == 3 and victim not in standing_by().values(), what="its replacement")

    def test_an_agent_on_a_killed_pooled_host_comes_back(self) -> None:
        with two() as system:
            before = system.ask("a", "epoch")
            os.kill(process_of(system, "a"), signal.SIGKILL)
            assert system.ask("a", "epoch", retry_safe=True) > before

    def test_a_killed_root_adopts_its_pooled_hosts_with_their_agents(self, wait: Wait) -> None:
        with two() as system:
            before = {name: (system.ask(name, "pid"), system.ask(name, "epoch")) for name in ("a", "b")}
            os.kill(standing_by()["~warm/pool"], signal.SIGKILL)
            os.kill(root_pid(system), signal.SIGKILL)
            wait(lambda: answers(system), what="the rebuilt root")
            assert {name: (system.ask(name, "pid"), system.ask(name, "epoch")) for name in before} == before
            os.kill(before["a"][0], signal.SIGKILL)
            assert system.ask("a", "pid", retry_safe=True) != before["a"][0]
        wait(lambda: not running(before["b"][0]), what="the end of the hosts with their system")
