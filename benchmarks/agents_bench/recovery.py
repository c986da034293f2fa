"""From kill -9 of an agent's process to its next answer, beside an actor that Ray restarts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import ray
from harness import Row, median, percentile

from agents_bench.agents import Echo, GetPid
from agents_bench.bare_ray import BareVictim
from dspex_agents import Backoff, ChildSpec, SupervisorSpec, SystemSpec
from dspex_agents.runtime.ray_runtime import start_ray_system

_APART_S = 0.7
_PERIOD_S = 0.5
_ANSWER_S = 30.0


def measure(kills: int, bare_kills: int) -> list[Row]:
    """Return the rows of the time to the next answer.

    Kills come far enough apart that each is the first in the supervisor's period, so its backoff adds nothing, and
    that the spare process is warm again. Those `in a row` give it no such time and have no backoff.
    """
    steady = SupervisorSpec(id="steady", period_s=_PERIOD_S, children=(_agent("victim"),))
    hurried = SupervisorSpec(
        id="hurried", intensity=1_000_000, children=(_agent("hurried-victim", Backoff(initial_s=0)),)
    )
    spec = SystemSpec(
        name="bench-kills", supervisor=SupervisorSpec(id="top", children=(steady, hurried)), spare_hosts=1
    )
    with start_ray_system(spec) as system:

        def asking(name: str) -> Callable[[], int]:
            return lambda: system.ask(name, GetPid(), retry_safe=True, timeout_s=_ANSWER_S)

        ours = [_recovery_ms(asking("victim"), _APART_S) for _ in range(kills)]
        in_a_row = [_recovery_ms(asking("hurried-victim"), 0) for _ in range(kills // 2)]
    bare = BareVictim.remote()
    theirs = [_recovery_ms(lambda: ray.get(bare.process.remote()), _APART_S) for _ in range(bare_kills)]
    ray.kill(bare)
    p50, p99 = percentile(ours, 0.5), percentile(ours, 0.99)
    peers = {"slowest, ms": max(ours), "kills": kills, "in a row, ms": median(in_a_row), "bare Ray, ms": median(theirs)}
    slowest = {"in a row, ms": percentile(in_a_row, 0.99), "bare Ray, ms": percentile(theirs, 0.99)}
    return [
        Row("kill -9 to next answer, p50", p50, "ms", "at most 150", p50 <= 150, peers),
        Row("kill -9 to next answer, p99", p99, "ms", "at most 1000", p99 <= 1000, slowest),
    ]


def _agent(name: str, backoff: Backoff | None = None) -> ChildSpec:
    return ChildSpec(id=name, start=Echo, isolation="own", backoff=backoff or Backoff())


def _recovery_ms(ask: Callable[[], int], pause_s: float) -> float:
    pid = ask()
    time.sleep(pause_s)
    started = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    assert ask() != pid
    return round(1000 * (time.perf_counter() - started), 1)
