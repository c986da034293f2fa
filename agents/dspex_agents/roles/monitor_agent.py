"""The monitor agent: samples the system on a timer, keeps its health and its open alerts."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dspex_agents.agent import Agent
from dspex_agents.errors import UnknownAgentError
from dspex_agents.roles.health import Alert, Health, Thresholds, assess
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError

_log = logging.getLogger(__name__)
_HISTORY = 1440


@dataclass(frozen=True, slots=True)
class GetHealth:
    """Control: answer with the latest `Health`; `fresh` samples first."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """An alert that is not resolved: since when, how often it was seen, and whether someone took note."""

    alert: Alert
    since: float
    seen: int = 1
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class GetAlerts:
    """Control: answer with the open alerts, oldest first."""


@dataclass(frozen=True, slots=True)
class AcknowledgeAlert:
    """Control: mark an open alert as seen by someone."""

    alert_id: str


class MonitorAgent(Agent):
    """Every agent of the system is watched without enrolling; an alert opens once and resolves by itself."""

    capabilities = frozenset({"monitoring"})

    def __init__(self, interval_s: float = 5.0, thresholds: Thresholds | None = None) -> None:
        self._interval_s, self._thresholds = interval_s, thresholds or Thresholds()
        self._health: Health | None = None
        self._history: deque[tuple[float, float]] = deque(maxlen=_HISTORY)
        self._open: dict[str, OpenAlert] = {}
        self._timer: asyncio.Task[None] | None = None

    async def on_start(self) -> None:
        """Begin to sample."""
        self._timer = asyncio.get_running_loop().create_task(self._sample_for_ever())

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the timer ends in any case
        """Stop sampling."""
        if self._timer is not None:
            self._timer.cancel()

    async def on_control(self, body: Any) -> Any:
        """Answer health and alerts, or acknowledge one."""
        match body:
            case GetHealth(fresh):
                return await self.sample() if fresh or self._health is None else self._health
            case GetAlerts():
                return sorted(self._open.values(), key=lambda entry: entry.since)
            case AcknowledgeAlert(alert_id):
                return self._acknowledge(alert_id)
            case _:
                return await super().on_control(body)

    def details(self) -> Mapping[str, Any]:
        """Return the latest score and the number of open alerts."""
        score = self._health.score if self._health else None
        return {"score": score, "open_alerts": len(self._open), "samples": len(self._history)}

    async def sample(self) -> Health:
        """Look at the whole tree once and update health and alerts."""
        health = assess(await self.context.tree(), self._thresholds)
        now = self.context.clock.now()
        self._health = health
        self._history.append((now, health.score))
        self._open = update_alerts(self._open, health.alerts, now)
        return health

    async def _sample_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.sample()
            except (TimeoutError, PortDiedError, PortUnavailableError) as error:
                _log.warning("monitor %r could not sample: %s", self.context.name, error)

    def _acknowledge(self, alert_id: str) -> OpenAlert:
        if alert_id not in self._open:
            raise UnknownAgentError(f"No open alert {alert_id!r}. Open: {', '.join(self._open) or 'none'}.")
        entry = self._open[alert_id]
        self._open[alert_id] = OpenAlert(entry.alert, entry.since, entry.seen, acknowledged=True)
        return self._open[alert_id]


def update_alerts(open_: Mapping[str, OpenAlert], seen: tuple[Alert, ...], now: float) -> dict[str, OpenAlert]:
    """Return the alerts open after a sample: known ones go on, new ones open, those not seen any more resolve."""
    result = {}
    for alert in seen:
        before = open_.get(alert.id)
        if before is None:
            result[alert.id] = OpenAlert(alert, now)
        else:
            result[alert.id] = OpenAlert(alert, before.since, before.seen + 1, before.acknowledged)
    return result
