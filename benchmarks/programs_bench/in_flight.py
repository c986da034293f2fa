"""The memory of many calls in flight, in a process that does nothing else."""

from __future__ import annotations

from harness import Row, median
from side import Side

from programs_bench.quick_server import quick_server

LATENCY_S = 6.0  # longer than the slowest side takes to begin them all


def measure(count: int, rounds: int) -> list[Row]:
    """Evaluate as many examples as are to be in flight; each round has a new process and a new server."""
    peaks = [_peak("ours_side", "evaluate", count) for _ in range(rounds)]
    peers = {"aiohttp alone": _peak("bare_side", "aiohttp_call", count)}
    value = median(peaks)
    return [Row(f"peak memory of {count:,} calls in flight", value, "MB", "at most 200", value <= 200, peers)]


def _peak(side: str, function: str, count: int) -> float:
    with quick_server(LATENCY_S) as server, Side(f"programs_bench.{side}") as asking:
        found = asking.call(function, url=server.url, count=count, at_once=count)
        most_open = server.figures()["most_open"]
    if most_open != count:
        raise RuntimeError(f"only {most_open} of {count} calls were in flight at once")
    return round(found["peak_mb"], 1)
