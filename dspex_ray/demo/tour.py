"""The tour: baseline, optimisation, agents that survive kill -9, an HTTP endpoint, and the bill. Everything is real."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.tree import Tree

from dspex_agents import AgentSystemError, TreeNode
from dspex_agents.runtime.ray_runtime import connect_cluster, disconnect_cluster
from dspex_ray.agent_system import AgentSystem
from dspex_ray.data import Dataset, load_data
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.errors import DspexError
from dspex_ray.evaluation import Evaluation, evaluate
from dspex_ray.example import Example
from dspex_ray.optimization import optimize
from dspex_ray.optimized import Optimized
from dspex_ray.program_worker import Predict
from dspex_ray.serving.deployment import undeploy
from dspex_ray.store import Store, open_store

_SEED = 7
_TEST_ROWS = 200
_TRIALS = 12
_REQUESTS = 600
_AT_ONCE = 16
_KILL_AFTER = 150


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the tour found. Accuracies are on `test_rows` rows that neither the search nor the program ever saw."""

    baseline_accuracy: float
    optimized_accuracy: float
    test_rows: int
    trials: int
    agents: int
    killed_pid: int
    requests_sent: int
    requests_lost: int
    recovery_ms: float
    endpoint_url: str
    http_status: int
    http_answer: Mapping[str, Any]
    cost_usd: float
    wall_s: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Survival:
    """What came of the requests that ran while a process was killed."""

    pid: int
    sent: int
    lost: int
    recovery_ms: float


def tour(console: Console, progress: Callable[[Mapping[str, Any]], None]) -> DemoReport:
    """Take the tour on a local cluster of its own, telling `console` about it; leaves nothing behind."""
    started = time.monotonic()
    train, test = load_data(DATA, ShopRoute).split(_SEED, validation=0.4, max_validation=_TEST_ROWS)
    console.rule("[bold]1. A program, untuned")
    console.print(f"{DATA.name}: {len(train)} rows to learn from, {len(test)} held out; 12 intents.")
    console.print("Model: embedded/nearest. It is no language model: it answers by the nearest demonstration shown.")
    baseline = evaluate(ShopRoute(), test)
    console.print(f"Accuracy [bold]{_scored(baseline)}")
    with tempfile.TemporaryDirectory(prefix="dspex-demo-") as folder:
        store = open_store(str(Path(folder) / "demo.db"))
        connect_cluster(join=False)
        try:
            return _on_cluster(console, progress, store, train, test, baseline, started)
        finally:
            disconnect_cluster()
            store.database.close()


def _on_cluster(
    console: Console,
    progress: Callable[[Mapping[str, Any]], None],
    store: Store,
    train: Dataset,
    test: Dataset,
    baseline: Evaluation,
    started: float,
) -> DemoReport:
    console.rule("[bold]2. The same program, optimised")
    console.print(f"{_TRIALS} candidates, scored by two supervised agents on Ray ...")
    optimized = optimize(ShopRoute(), train, trials=_TRIALS, seed=_SEED, store=store, progress=progress)
    tuned = evaluate(optimized.program, test)
    console.print(f"Accuracy [bold]{_scored(tuned)}[/], was {_scored(baseline)}")
    console.print(f"Kept as version {optimized.version.number}: demos = {optimized.program.values['demos']}")
    console.rule("[bold]3. A tree of agents, and kill -9")
    with optimized.to_agent_system(store=store, name="dspex-demo") as system:
        tree = system.tree()
        console.print(_drawn(tree))
        survival = asyncio.run(_survive(system, test.examples))
        console.print(
            f"Killed process {survival.pid} of task-1 amid {survival.sent} requests: [bold]{survival.lost} lost[/]; "
            f"task-1 answered again after [bold]{survival.recovery_ms:.0f} ms"
        )
        console.print(_drawn(system.tree()))
    console.rule("[bold]4. Served over HTTP")
    url, status, answer = _serve(console, optimized, store)
    totals = store.totals()
    console.rule("[bold]5. The bill")
    tokens = totals.prompt_tokens + totals.completion_tokens
    console.print(f"{totals.calls} model calls, {tokens} tokens: ${totals.cost_usd:.4f} (the embedded model is free).")
    return DemoReport(
        baseline_accuracy=baseline.accuracy,
        optimized_accuracy=tuned.accuracy,
        test_rows=tuned.rows,
        trials=len(optimized.history),
        agents=len(tree.agents()),
        killed_pid=survival.pid,
        requests_sent=survival.sent,
        requests_lost=survival.lost,
        recovery_ms=round(survival.recovery_ms, 1),
        endpoint_url=url,
        http_status=status,
        http_answer=answer,
        cost_usd=totals.cost_usd,
        wall_s=round(time.monotonic() - started, 1),
    )


async def _survive(system: AgentSystem, examples: Sequence[Example]) -> _Survival:
    """Send requests, kill the first task agent's process in the middle, and count the answers."""
    victim = system.workers[0]
    pid = next(node.pid for node in system.tree().agents() if node.id == victim)
    queue = iter([examples[number % len(examples)] for number in range(_REQUESTS)])
    answered, killed = 0, asyncio.Event()

    async def client() -> None:
        nonlocal answered
        for example in queue:
            try:
                output = await system.arun(**example.input)
            except (AgentSystemError, DspexError):
                continue  # lost: counted by what is missing from `answered`
            answered += isinstance(output, ShopRoute.Output)
            if answered >= _KILL_AFTER and not killed.is_set():
                killed.set()
                os.kill(pid, signal.SIGKILL)

    async def watch() -> float:
        await killed.wait()
        began = time.monotonic()
        await system.system.aask(victim, Predict(examples[0].input), timeout_s=30.0, retry_safe=True)
        return 1000 * (time.monotonic() - began)

    watching = asyncio.ensure_future(watch())
    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    if not killed.is_set():
        watching.cancel()
        raise DspexError(f"Only {answered} of {_REQUESTS} requests were answered, before anything was killed.")
    return _Survival(pid, _REQUESTS, _REQUESTS - answered, await watching)


def _serve(console: Console, optimized: Optimized, store: Store) -> tuple[str, int, Mapping[str, Any]]:
    endpoint = optimized.deploy(name="shop-route", port=0, replicas=(1, 2), store=store)
    body = json.dumps({"message": "Where is my parcel? The tracking has not moved for two weeks."})
    console.print(f"$ curl {endpoint.url} -H 'content-type: application/json' -d '{body}'", markup=False)
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        endpoint.url, data=body.encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
        answer: Mapping[str, Any] = json.load(response)
        status = int(response.status)
    console.print(f"HTTP {status}: {answer}")
    undeploy(endpoint.name, store)
    return endpoint.url, status, answer


def _scored(result: Evaluation) -> str:
    return f"{100 * result.accuracy:.1f} % (95 % interval {100 * result.low:.1f} to {100 * result.high:.1f} %)"


def _drawn(node: TreeNode, into: Tree | None = None) -> Tree:
    facts = f"[bold]{node.id}[/] {node.status}"
    if node.kind == "agent":
        facts += f"  [dim]process {node.pid}, {node.memory_bytes / 2**20:.0f} MiB, {node.restarts} restarts[/]"
    branch = Tree(facts) if into is None else into.add(facts)
    for child in node.children:
        _drawn(child, branch)
    return branch
