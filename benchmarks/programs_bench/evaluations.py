"""Examples a second and CPU per example, beside DSPy, litellm's call and aiohttp's, each at its best setting."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import Row, alternate, median
from side import Figures, Side

from programs_bench.quick_server import QuickServer, quick_server

LATENCY_S = 0.05
WARM_UP = 64
MODULES = ("ours_side", "dspy_side", "bare_side", "raw_side")
DSPY = ("DSPy, Evaluate's threads", "DSPy, acall")


@dataclass(frozen=True, slots=True)
class Runner:
    """One way to ask all questions, and the numbers of examples at once it is tried with."""

    side: Side
    function: str
    settings: Sequence[int]

    def run(self, server: QuickServer, count: int, at_once: int) -> Figures:
        """Ask; fails when the server was not asked exactly once for each example."""
        server.figures()
        found = self.side.call(self.function, url=server.url, count=count, at_once=at_once)
        asked = server.figures()["asked"]
        if asked != count:
            raise RuntimeError(f"{self.function} asked {asked} times for {count} examples")
        return found


def measure(count: int, rounds: int, settings: Sequence[int]) -> list[Row]:
    """Try every setting once, then run each side's best in turn."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(quick_server(LATENCY_S))
        sides = {name: stack.enter_context(Side(f"programs_bench.{name}")) for name in MODULES}
        runners = {
            "ours": Runner(sides["ours_side"], "evaluate", settings),
            DSPY[0]: Runner(sides["dspy_side"], "evaluate", settings),
            DSPY[1]: Runner(sides["dspy_side"], "evaluate_async", settings),
            "litellm.acompletion": Runner(sides["bare_side"], "litellm_call", settings[1:2]),
            "aiohttp": Runner(sides["bare_side"], "aiohttp_call", settings[-1:]),
            "the server's ceiling": Runner(sides["raw_side"], "ceiling", settings[-1:]),
        }
        best = {name: _best(runner, server, count) for name, runner in runners.items()}
        figures: dict[str, list[Figures]] = {name: [] for name in runners}

        def once(name: str) -> Callable[[], float]:
            def run() -> float:
                figures[name].append(runners[name].run(server, count, best[name]))
                return figures[name][-1]["rate"]

            return run

        rates = alternate({name: once(name) for name in runners}, rounds)
        return _rows(rates, {name: found[-rounds:] for name, found in figures.items()}, best)


def _best(runner: Runner, server: QuickServer, count: int) -> int:
    """Return the setting with the highest rate."""
    runner.run(server, WARM_UP, runner.settings[0])
    if len(runner.settings) == 1:
        return runner.settings[0]
    rates = {at_once: runner.run(server, count, at_once)["rate"] for at_once in runner.settings}
    return max(rates, key=lambda at_once: rates[at_once])


def _rows(rates: dict[str, list[float]], figures: dict[str, list[Figures]], best: dict[str, int]) -> list[Row]:
    peer = max(DSPY, key=lambda name: median(rates[name]))
    ratio = median([a / b for a, b in zip(rates["ours"], rates[peer], strict=True)])
    told: dict[str, Any] = {f"{name}, {best[name]} at once": median(found) for name, found in rates.items()}
    cpu = {name: median([one["cpu_ms"] for one in found]) for name, found in figures.items()}
    ours_ms = cpu.pop("ours")
    measure = "examples a second, one-call program, against DSPy, each at its best setting"
    headroom = median([a / b for a, b in zip(rates["the server's ceiling"], rates["ours"], strict=True)])
    return [
        Row(measure, ratio, "x", "at least 4", ratio >= 4, told),
        Row("the server's ceiling against ours", headroom, "x"),
        Row("CPU per example in the client", ours_ms, "ms", "at most 0.6", ours_ms <= 0.6, cpu),
    ]
