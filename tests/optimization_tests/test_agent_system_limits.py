"""Limits of a model hold for all workers of a running system together, each in a process of its own on Ray."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from typing import Any

import pytest
from limited_programs import limited

from dspex_ray.agent_system import AgentSystem
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.limits.lender import MODEL_LIMITS, SHARED_LENDER
from dspex_ray.store import Store
from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer

A_MINUTE = LMLimits(requests_per_minute=1200)
BURST, PER_S = 60, 1140 / 63  # what a bucket of 1,200 a minute lends at once, and its pace after that
CALLS = BURST * 3 // 2


async def answered(system: AgentSystem, inputs: int) -> list[Any]:
    return await asyncio.gather(*(system.arun(n=n) for n in range(inputs)))


@pytest.mark.ray
def test_requests_a_minute_hold_for_two_processes_in_sum(ray_cluster: str, store: Store) -> None:
    with ModelServer() as server, limited(server, A_MINUTE).to_agent_system(store=store) as system:
        started = time.monotonic()
        answers = asyncio.run(answered(system, CALLS))
        took_s = time.monotonic() - started
        asked = system.system.status(MODEL_LIMITS).details["vllm/m at " + server.base_url]["asked"]
    by_process = Counter(answer.pid for answer in answers)
    assert len(by_process) == 2
    assert max(by_process.values()) <= BURST, "with a bucket of its own each process would send all of its at once"
    assert took_s >= 0.9 * (CALLS - BURST) / PER_S
    assert server.counters()["requests"] == CALLS
    assert asked >= 2


def test_concurrency_holds_for_all_workers_and_a_client_beside_them(store: Store) -> None:
    with ModelServer(weather=Weather(latency=0.02)) as server:
        program = limited(server, LMLimits(concurrency=3))
        with program.to_agent_system(store=store, runtime="in-process", workers=3) as system:

            async def beside() -> list[Any]:
                mine = asyncio.gather(*(program.acall({"n": n}) for n in range(20)))
                answers = [*await answered(system, 40), *await mine]
                await program.lm.aclose()
                return answers

            assert len(asyncio.run(beside())) == 60
        counted = server.counters()
    assert counted["answered"] == 60
    assert counted["max_in_flight"] <= 3
    assert not SHARED_LENDER.is_there


def test_a_system_that_is_killed_leaves_no_lender_behind(store: Store, kill_host: Any, wait: Any) -> None:
    with ModelServer() as server:
        program = limited(server, A_MINUTE)
        with program.to_agent_system(store=store, runtime="in-process", workers=1) as system:
            system.run(n=1)
            kill_host(system, "task-1")
            wait(lambda: system.run(n=2) is not None)
        wait(lambda: gc.collect() >= 0 and not SHARED_LENDER.is_there)
