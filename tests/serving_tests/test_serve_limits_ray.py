"""Limits of a model hold for all replicas of an endpoint together, and its ledger has every call."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from limited_programs import limited

from dspex_agents.runtime.ray_runtime import find_ray_system
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.limits.lender import MODEL_LIMITS
from dspex_ray.serving.cluster_ledger import ensure_ledger
from dspex_ray.serving.deployment import deploy, undeploy
from dspex_ray.store import open_store
from dspex_ray.testing.model_server import ModelServer

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]
BURST, PER_S = 60, 1140 / 63  # what a bucket of 1,200 a minute lends at once, and its pace after that


def test_requests_a_minute_hold_for_two_replicas_in_sum(ray_cluster: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))

    async def ask_all(url: str) -> Counter[int]:
        async with httpx.AsyncClient(timeout=30) as client:
            responses = await asyncio.gather(*(client.post(url, json={"n": n}) for n in range(2 * BURST)))
        return Counter(response.json()["pid"] for response in responses)

    with ModelServer() as server:
        program = limited(server, LMLimits(requests_per_minute=1200))
        endpoint = deploy(program, name="limited", port=0, replicas=(2, 2), store=store)
        try:
            started = time.monotonic()
            by_replica = asyncio.run(ask_all(endpoint.url))
            took_s = time.monotonic() - started
            system = find_ray_system(ensure_ledger(store))
            details = system.status(MODEL_LIMITS).details
        finally:
            undeploy("limited", store)
        counted = server.counters()
    store.database.close()
    assert len(by_replica) == 2
    assert max(by_replica.values()) <= 1.5 * BURST, "two buckets would let nearly all of them pass at once"
    assert took_s >= 0.9 * BURST / PER_S
    assert counted["requests"] == 2 * BURST
    assert list(details) == [f"vllm/m at {server.base_url}"]
