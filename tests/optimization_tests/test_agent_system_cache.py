"""Equal requests of a running system meet in one agent and cost one call; with the cache off, each costs its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from limited_programs import limited

from dspex_ray.lm.limits import LMLimits
from dspex_ray.store import Store
from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer

AT_ONCE, DIFFERENT = 40, 4
SLOW = Weather(latency=0.05)


async def asked(system: Any) -> Counter[int]:
    """Ask so many different inputs so often each, all at once; return how many processes answered each."""
    inputs = [n for n in range(DIFFERENT) for _ in range(AT_ONCE)]
    answers = await asyncio.gather(*(system.arun(n=n) for n in inputs))
    return Counter(n for n, _ in {(n, answer.pid) for n, answer in zip(inputs, answers, strict=True)})


def calls(server: ModelServer) -> int:
    return int(server.counters()["requests"])


def test_equal_requests_at_once_are_one_call_of_a_system_and_later_ones_none(store: Store) -> None:
    with ModelServer(weather=SLOW) as server:
        program = limited(server, LMLimits()).with_cache("memory")
        with program.to_agent_system(store=store, runtime="in-process", workers=3) as system:
            asyncio.run(asked(system))
            assert calls(server) == DIFFERENT
            asyncio.run(asked(system))
            assert calls(server) == DIFFERENT


@pytest.mark.ray
def test_equal_requests_of_a_system_of_processes_meet_in_one_of_them(ray_cluster: str, store: Store) -> None:
    with ModelServer(weather=SLOW) as server:
        program = limited(server, LMLimits()).with_cache("memory")
        with program.to_agent_system(store=store) as system:
            assert set(asyncio.run(asked(system)).values()) == {1}
            assert calls(server) == DIFFERENT


def test_a_second_system_finds_on_disk_what_the_first_one_paid_for(store: Store, tmp_path: Path) -> None:
    with ModelServer() as server:
        program = limited(server, LMLimits()).with_cache(str(tmp_path / "replies"))
        for _ in range(2):
            with program.to_agent_system(store=store, runtime="in-process") as system:
                asyncio.run(asked(system))
        assert calls(server) == DIFFERENT


def test_where_the_cache_is_off_every_request_is_a_call(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPEX_CACHE", "memory")
    with ModelServer() as server:
        program = limited(server, LMLimits()).with_cache("off")
        with program.to_agent_system(store=store, runtime="in-process") as system:
            asyncio.run(asked(system))
        assert calls(server) == AT_ONCE * DIFFERENT
