"""What needs no model: an example whose reply is kept, and the validation of an embedding."""

from __future__ import annotations

import tempfile

from harness import Row, median
from side import Side

from programs_bench.quick_server import quick_server


def measure(count: int, rounds: int) -> list[Row]:
    """Measure in one process, round by round; medians."""
    with (
        quick_server(0.0) as server,
        Side("programs_bench.ours_side") as ours,
        Side("programs_bench.dspy_side") as peer,
    ):
        memory = [ours.call("cached", url=server.url, count=count)["us"] for _ in range(rounds)]
        disk = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                disk.append(ours.call("cached_on_disk", url=server.url, count=count // 10, folder=folder)["us"])
        dspy = [peer.call("cached", url=server.url, count=count // 10)["us"] for _ in range(rounds)]
        vectors = [ours.call("validate", count=count)["us"] for _ in range(rounds)]
    cached_ms, disk_ms, vector_us = median(memory) / 1000, median(disk) / 1000, median(vectors)
    peers = {"read from disk, ms": round(disk_ms, 4), "DSPy, in memory, ms": round(median(dspy) / 1000, 4)}
    return [
        Row("cached example", round(cached_ms, 4), "ms", "at most 0.1", cached_ms <= 0.1, peers),
        Row("validation of a 1,536-float embedding", vector_us, "us", "at most 50", vector_us <= 50),
    ]
