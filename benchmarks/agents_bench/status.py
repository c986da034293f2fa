"""How soon an agent tells its status when its mailbox is full and its task is slow."""

from __future__ import annotations

import time

from harness import Row, percentile

from agents_bench.agents import Feeder, Fill, Slow
from dspex_agents import ChildSpec, SupervisorSpec, System, SystemSpec
from dspex_agents.runtime.ray_runtime import start_ray_system

_FULL_WITHIN_S = 60.0


def measure(asks: int) -> list[Row]:
    """Return the rows of status; the harder ones have no bar."""
    plain = _times_ms("bench-status", asks, burns=False, floods=0)
    flooded = _times_ms("bench-status-flooded", asks, burns=False, floods=4)
    burning = _times_ms("bench-status-burning", asks // 2, burns=True, floods=0)
    p99 = percentile(plain, 0.99)
    measure = "status of an agent whose mailbox is full and whose task is slow, p99"
    harder = "the same, p99"
    return [
        Row(measure, p99, "ms", "at most 20", p99 <= 20, {"p50, ms": percentile(plain, 0.5), "asks": asks}),
        Row(
            f"{harder}, while four senders are refused in a loop",
            percentile(flooded, 0.99),
            "ms",
            peers={"p50, ms": percentile(flooded, 0.5)},
        ),
        Row(
            f"{harder}, while the task's thread burns Python code",
            percentile(burning, 0.99),
            "ms",
            peers={"p50, ms": percentile(burning, 0.5)},
        ),
    ]


def _times_ms(name: str, asks: int, *, burns: bool, floods: int) -> list[float]:
    children = (
        ChildSpec(id="slow", start=Slow, kwargs={"burns": burns}, host="one", shutdown_s=2),
        ChildSpec(id="feeder", start=Feeder, host="two", shutdown_s=2),
    )
    spec = SystemSpec(name=name, supervisor=SupervisorSpec(id="top", children=children))
    with start_ray_system(spec) as system:
        system.ask("feeder", Fill("slow", Slow.mailbox_size + 1, floods))
        _wait_until_full(system)
        times = []
        for _ in range(asks):
            started = time.perf_counter()
            status = system.status("slow")
            times.append(1000 * (time.perf_counter() - started))
            assert (status.mailbox, status.in_flight) == (Slow.mailbox_size, 1)
    return times


def _wait_until_full(system: System) -> None:
    until = time.monotonic() + _FULL_WITHIN_S
    while system.status("slow").mailbox < Slow.mailbox_size:
        if time.monotonic() > until:
            raise TimeoutError(f"the mailbox was not full within {_FULL_WITHIN_S} s")
        time.sleep(0.05)
