"""`SystemHealthSensor`: tells how the system and its node are, in one of four words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dspex_agents.monitoring.system_probe import Probe, SystemProbe
from dspex_agents.monitoring.vital_signs import VitalLimits, VitalStatus, VitalWatch
from dspex_agents.sensors.sensor import SensorAgent, check_seconds
from dspex_agents.signals.signal import Signal


class SystemHealthSensor(SensorAgent):
    """Publishes `system.health.<ok|warning|critical|emergency>` when that changes, and again every `cooldown_s`.

    The data is that of `VitalSigns`.
    """

    def __init__(
        self,
        bus: str,
        *,
        interval_s: float = 30.0,
        cooldown_s: float = 300.0,
        limits: VitalLimits | None = None,
        probe: Probe | None = None,
        **options: Any,
    ) -> None:
        """`options` are those of SensorAgent. Raises SpecError."""
        super().__init__(bus, **options)
        check_seconds(self, "interval_s", interval_s)
        check_seconds(self, "cooldown_s", cooldown_s)
        self._interval_s, self._cooldown_s, self._probe = interval_s, cooldown_s, probe or SystemProbe()
        self._watch = VitalWatch(limits)
        self._status: VitalStatus | None = None
        self._score: float | None = None
        self._told: tuple[VitalStatus, float] | None = None

    def next_after(self, now: float) -> float:
        """Return the time one interval on."""
        return now + self._interval_s

    async def poll(self) -> Sequence[Signal]:
        """Look once, and tell what is news."""
        system = await self.context.run_blocking(self._probe.read, self.context.clock.monotonic())
        alive = [node.agent for node in (await self.context.tree()).agents() if node.agent is not None]
        now = self.context.clock.now()
        longest = max((status.mailbox for status in alive), default=0)
        signs = self._watch.observe(system, len(alive), longest, now)
        self._status, self._score = signs.status, signs.score
        if self._told is not None:
            status, at = self._told
            if status == signs.status and 0 <= now - at < self._cooldown_s:
                return []
        self._told = (signs.status, now)
        return [self.signal(f"system.health.{signs.status}", signs.to_json())]

    def details(self) -> Mapping[str, Any]:
        """Return the sensor's figures with the latest status and score."""
        return {**super().details(), "status": self._status, "score": self._score}
