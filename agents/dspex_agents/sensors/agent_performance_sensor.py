"""`AgentPerformanceSensor`: tells how well the agents of a system work, and what to do about those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from dspex_agents.monitoring.agent_performance import (
    LEVELS,
    AgentPerformance,
    PerformanceLevel,
    PerformanceLimits,
    PerformanceWatch,
    system_recommendations,
)
from dspex_agents.monitoring.roster import Roster
from dspex_agents.sensors.sensor import SensorAgent, check_seconds
from dspex_agents.signals.signal import Signal

_MAX_LISTED = 100
_AT_ONE_GO = 500


class AgentPerformanceSensor(SensorAgent):
    """Publishes `agent.performance.<critical|degraded|normal|optimal>` at each poll, one signal a level that occurs.

    The data lists the agents of that level (`AgentPerformance`; at most 100, those with most issues first), their
    `count`, that of all agents (`of`), and `recommendations` for the whole system.
    """

    def __init__(
        self, bus: str, *, interval_s: float = 60.0, limits: PerformanceLimits | None = None, **options: Any
    ) -> None:
        """`options` are those of SensorAgent. Raises SpecError."""
        super().__init__(bus, **options)
        check_seconds(self, "interval_s", interval_s)
        self._interval_s = interval_s
        self._roster, self._watch = Roster(window_s=interval_s), PerformanceWatch(limits)
        self._counts: dict[PerformanceLevel, int] = {}

    def next_after(self, now: float) -> float:
        """Return the time one interval on."""
        return now + self._interval_s

    async def poll(self) -> Sequence[Signal]:
        """Look at every agent once."""
        tree, now = await self.context.tree(), self.context.clock.now()
        by_level: dict[PerformanceLevel, list[AgentPerformance]] = {}
        self._roster.begin()
        for count, node in enumerate(tree.agents(), 1):
            figures, _ = self._roster.observe(node, now)
            if (found := self._watch.observe(figures)) is not None:
                by_level.setdefault(found.level, []).append(found)
            if count % _AT_ONE_GO == 0:
                await asyncio.sleep(0)  # others of this process have their turn
        _, left = self._roster.end()
        self._watch.forget(left)
        self._counts = {level: len(group) for level, group in by_level.items()}
        advice = system_recommendations(each for group in by_level.values() for each in group)
        return [self._told(level, by_level[level], advice) for level in LEVELS if level in by_level]

    def details(self) -> Mapping[str, Any]:
        """Return the sensor's figures with the number of agents of each level."""
        return {**super().details(), "levels": dict(self._counts)}

    def _told(self, level: PerformanceLevel, found: list[AgentPerformance], advice: list[str]) -> Signal:
        listed = sorted(found, key=lambda each: -len(each.issues))[:_MAX_LISTED]
        data = {
            "count": len(found),
            "of": sum(self._counts.values()),
            "agents": [each.to_json() for each in listed],
            "recommendations": advice,
        }
        return self.signal(f"agent.performance.{level}", data)
