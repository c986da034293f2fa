"""State that survives: a persistent agent is killed again and again while it counts, and counts everything once."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from persistent_samples import Counter, Increment, Nothing
from test_ray_runtime import answers, process_of, root_pid

from dspex_agents import ActionCall, Backoff, ChildSpec, Database, SnapshotStore, SupervisorSpec, System, SystemSpec
from dspex_agents.runtime.ray_runtime import start_ray_system

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.usefixtures("ray_cluster")]
REQUESTS, KILLS = 200, 4


def spec_of(folder: Path) -> SystemSpec:
    store = SnapshotStore(Database(f"sqlite:///{folder / 'state.db'}"), "counting")
    quick = Backoff(initial_s=0.05, max_s=0.2)
    counter = ChildSpec(id="counter", start=Counter, kwargs={"store": store}, isolation="own", backoff=quick)
    top = SupervisorSpec(id="top", children=(counter,), intensity=50)
    return SystemSpec(name=f"persist-{time.time_ns()}", supervisor=top, spare_hosts=2)


def total(system: System) -> int:
    answer = system.ask("counter", ActionCall("Read", Nothing().model_dump()), retry_safe=True)
    return int(getattr(answer, "total", None) or answer["total"])


def test_an_agent_killed_again_and_again_counts_every_increment_once(tmp_path: Path) -> None:
    with start_ray_system(spec_of(tmp_path)) as system:
        done: list[int] = []

        async def add_all() -> None:
            room = asyncio.Semaphore(8)

            async def add(number: int) -> None:
                async with room:
                    call = ActionCall("Add", Increment(key=f"k{number}").model_dump())
                    await system.aask("counter", call, retry_safe=True, key=f"k{number}", timeout_s=60)
                    done.append(number)

            await asyncio.gather(*map(add, range(REQUESTS)))

        load = threading.Thread(target=lambda: asyncio.run(add_all()))
        load.start()
        for kill in range(1, KILLS + 1):
            while load.is_alive() and len(done) < kill * REQUESTS // (KILLS + 1):
                time.sleep(0.005)
            os.kill(process_of(system, "counter"), signal.SIGKILL)
        load.join(90)
        assert sorted(done) == list(range(REQUESTS))
        assert total(system) == REQUESTS
        assert system.tree().agents()[0].restarts == KILLS


def test_state_outlives_the_system_and_its_root(tmp_path: Path, wait: Callable[..., None]) -> None:
    with start_ray_system(spec_of(tmp_path)) as system:
        for number in range(5):
            system.ask("counter", ActionCall("Add", Increment(key=f"k{number}").model_dump()))
        for pid in (root_pid(system), process_of(system, "counter")):
            os.kill(pid, signal.SIGKILL)
        wait(lambda: answers(system), what="the rebuilt root")
        assert total(system) == 5
    with start_ray_system(spec_of(tmp_path)) as system:
        assert total(system) == 5
