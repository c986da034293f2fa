"""The skeleton's figures: import, demo, an agent's answer against a bare actor's, an endpoint against bare Serve."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import ray
from harness import Row, machine, median, show, versions, write
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

import dspex_ray as dspex
from dspex_agents.runtime.ray_runtime import connect_cluster, disconnect_cluster
from dspex_ray.serving.deployment import undeploy

BIN = Path(sys.executable).parent
CALLS, ROUNDS = 400, 5
CONNECTIONS, SECONDS = 32, 4.0


class Echo(dspex.Program):
    """Answer with the message."""

    class Input(dspex.Schema):
        """A message."""

        message: str

    class Output(dspex.Schema):
        """The same message."""

        message: str

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        return self.Output(message=input.message)


@ray.remote(num_cpus=0)
class BareActor:
    async def answer(self, fields: dict[str, str]) -> dict[str, str]:
        return fields


@serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
class BareServe:
    async def __call__(self, request: Request) -> JSONResponse:
        return JSONResponse(await request.json())


def import_seconds() -> Row:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import dspex_ray"], check=True)
        whole = time.perf_counter() - started
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        times.append(whole - (time.perf_counter() - started))
    first_use = []
    for _ in range(5):
        code = (
            "import time; t = time.perf_counter(); import dspex_ray; dspex_ray.Program; print(time.perf_counter() - t)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        first_use.append(float(done.stdout))
    value = median(times)
    return Row(
        "import dspex_ray", value, "s", "under 0.3", value < 0.3, {"and its Program class, s": median(first_use)}
    )


def demo_seconds() -> Row:
    started = time.perf_counter()
    done = subprocess.run([str(BIN / "dspex"), "demo", "--json"], check=True, capture_output=True, text=True)
    wall, report = time.perf_counter() - started, json.loads(done.stdout)
    kept = ("baseline_accuracy", "optimized_accuracy", "requests_lost", "recovery_ms")
    return Row("dspex demo, whole process", round(wall, 1), "s", "under 90", wall < 90, {k: report[k] for k in kept})


def call_overhead(store: dspex.Store) -> list[Row]:
    """Interleave rounds of bare actor calls, `system.ask` and `system.run`, one call at a time."""
    bare = BareActor.remote()
    with Echo().to_agent_system(workers=1, store=store, name="bench-echo") as system:
        fields = {"message": "hello"}
        sides: dict[str, Callable[[], Any]] = {
            "bare": lambda: ray.get(bare.answer.remote(fields)),
            "run": lambda: system.run(message="hello"),
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for call in sides.values():
            [call() for _ in range(50)]
        for _ in range(ROUNDS):
            for name, call in sides.items():
                started = time.perf_counter()
                [call() for _ in range(CALLS)]
                times[name].append(1000 * (time.perf_counter() - started) / CALLS)
    ratios = [a / b for a, b in zip(times["run"], times["bare"], strict=True)]
    peers = {"system.run, ms": median(times["run"]), "bare Ray async actor, ms": median(times["bare"])}
    return [Row("system.run against a bare Ray actor call, one at a time", median(ratios), "x", None, None, peers)]


async def load(url: str, seconds: float, connections: int) -> tuple[float, float]:
    """Return requests a second and the median latency in ms, with as many clients as connections."""
    latencies: list[float] = []
    stop = time.perf_counter() + seconds
    body = {"message": "hello"}

    async def client(session: aiohttp.ClientSession) -> None:
        while time.perf_counter() < stop:
            started = time.perf_counter()
            async with session.post(url, json=body) as response:
                assert response.status == 200
                await response.read()
            latencies.append(1000 * (time.perf_counter() - started))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        await asyncio.gather(*(client(session) for _ in range(connections)))
    return len(latencies) / seconds, statistics.median(latencies)


def served_echo(store: dspex.Store) -> list[Row]:
    """Interleave load on the served program and on a bare deployment behind the same HAProxy."""
    endpoint = Echo().deploy(name="bench-echo", port=0, replicas=(1, 1), store=store)
    serve.run(BareServe.bind(), name="bare", route_prefix="/bare")
    base = endpoint.url.rsplit("/", 1)[0]
    rows = []
    for connections in (1, CONNECTIONS):
        figures: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
        for name, url in (("ours", endpoint.url), ("bare", f"{base}/bare")):
            asyncio.run(load(url, 1.0, connections))
            figures[name].clear()
        for _ in range(3):
            for name, url in (("ours", endpoint.url), ("bare", f"{base}/bare")):
                figures[name].append(asyncio.run(load(url, SECONDS, connections)))
        ratio = [a[0] / b[0] for a, b in zip(figures["ours"], figures["bare"], strict=True)]
        peers = {
            f"{name}: {what}": median([pair[i] for pair in pairs])
            for name, pairs in figures.items()
            for i, what in enumerate(("requests/s", "p50 ms"))
        }
        measure = f"served echo against bare Serve, same proxy, {connections} connections, requests/s"
        rows.append(Row(measure, median(ratio), "x", None, None, peers))
    serve.delete("bare")
    undeploy(endpoint.name, store)
    return rows


def main() -> None:
    described, rows = machine(), [import_seconds(), demo_seconds()]
    with tempfile.TemporaryDirectory() as folder:
        store = dspex.open_store(f"{folder}/bench.db")
        connect_cluster(join=False)
        try:
            rows += call_overhead(store)
            rows += served_echo(store)
        finally:
            disconnect_cluster()
    show(rows)
    write("skeleton", described, versions("ray", "aiohttp", "pydantic", "dspex-ray"), rows)


if __name__ == "__main__":
    main()
