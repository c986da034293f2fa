"""A monitor alone on a stage: its clock, its tree, its node and its bus are those of the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sample_trees import FixedProbe, tree

from dspex_agents.agent import TreeNode
from dspex_agents.clock import ManualClock
from dspex_agents.ids import CountingIds
from dspex_agents.monitoring.monitor_agent import MonitorAgent
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.signals.signal import Signal
from dspex_agents.testing import LoneHost

QUIET = Sampling(interval_s=3600.0)
"""A timer that does not fire while a test runs."""


class Scene:
    """Holds what the monitor sees: `nodes`, `probe`, and what it publishes: `signals`."""

    def __init__(self, *nodes: TreeNode, bus: bool = False, **options: Any) -> None:
        self.clock, self.nodes, self.probe = ManualClock(1000.0), list(nodes), FixedProbe()
        self.signals: list[Signal] = []
        self.looks = 0
        self.host = LoneHost(self.clock, ask=self._ask, tree=self._tree)
        self.monitor = MonitorAgent(
            **{"sampling": QUIET, "probe": self.probe, "bus": "bus" if bus else None, "ids": CountingIds(), **options}
        )
        self.monitor.context = self.host.context("monitor")

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        """Run the scene between the monitor's start and its stop."""

        async def life() -> None:
            await self.monitor.on_start()
            try:
                await scene()
            finally:
                await self.monitor.on_stop("shutdown")

        asyncio.run(life())

    async def ask(self, body: Any) -> Any:
        """Send a control message."""
        return await self.monitor.on_control(body)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Let the monitor's tasks run until the condition holds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not hold in time"
            await asyncio.sleep(0.001)

    def told(self) -> list[str]:
        """Return the types of the signals published, without their prefix."""
        return [signal.type.removeprefix("monitor.") for signal in self.signals]

    async def _tree(self) -> TreeNode:
        self.looks += 1
        return tree(*self.nodes)

    async def _ask(self, to: str, body: Any, **options: Any) -> None:
        self.signals.append(body.signal)
