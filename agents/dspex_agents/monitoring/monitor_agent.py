"""The monitor agent: looks at the whole system on a timer and answers how it is."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from dspex_agents.agent import Agent
from dspex_agents.ids import IdSource
from dspex_agents.monitoring.alert_book import AlertRules, OpenAlert
from dspex_agents.monitoring.health import Health
from dspex_agents.monitoring.monitor_messages import (
    AcknowledgeAlert,
    GetAlertHistory,
    GetAlerts,
    GetHealth,
    GetRecommendations,
    GetSamples,
    GetThresholds,
    SetThresholds,
    StartMonitoring,
    StopMonitoring,
)
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.monitoring.signal_outbox import SignalOutbox
from dspex_agents.monitoring.system_probe import Probe, SystemProbe
from dspex_agents.monitoring.system_watch import Notice, SystemWatch
from dspex_agents.monitoring.thresholds import Thresholds

_log = logging.getLogger(__name__)
_AT_ONE_GO = 500  # agents looked at before others of this process have their turn


class MonitorAgent(Agent):
    """Watches every agent of its system, those that come later too, and the node it runs on.

    Its messages are those of `monitor_messages`, all of them control messages. With `bus`, the name of a
    SignalBusAgent, it publishes `monitor.<what>`: metrics_collected and health_analyzed for each sample,
    agent_enrolled and agent_left, alert_triggered, alert_acknowledged and alert_resolved, thresholds_updated,
    monitoring_started and monitoring_stopped. All it knows is in memory: a restarted monitor begins anew.
    """

    capabilities = frozenset({"monitoring", "alerting", "health_analysis"})

    def __init__(
        self,
        thresholds: Thresholds | None = None,
        *,
        sampling: Sampling | None = None,
        rules: AlertRules | None = None,
        bus: str | None = None,
        probe: Probe | None = None,
        ids: IdSource | None = None,
    ) -> None:
        self._watch = SystemWatch(sampling or Sampling(), thresholds or Thresholds(), rules)
        self._bus, self._probe, self._ids = bus, probe or SystemProbe(), ids
        self._outbox: SignalOutbox | None = None
        self._timer: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._began_at: float | None = None
        self._failed = self._failing = 0
        self._last_error = ""

    # life ---------------------------------------------------------------------------------------------------------
    async def on_start(self) -> None:
        """Begin to sample."""
        if self._bus is not None:
            self._outbox = SignalOutbox(self.context, self._bus, ids=self._ids)
            self._outbox.open()
        self._start(None)

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the same end for every reason
        """Stop sampling and publishing."""
        self._stop()
        if self._outbox is not None:
            self._outbox.close()

    async def on_control(self, body: Any) -> Any:  # noqa: PLR0911 - a table: one line, one return
        """Answer; the messages' classes say how."""
        match body:
            case GetHealth(fresh):
                return await self._get_health(fresh)
            case GetAlerts():
                return list(self._watch.book.open())
            case GetAlertHistory(limit):
                return list(self._watch.book.history(limit))
            case AcknowledgeAlert():
                return self._acknowledge(body)
            case GetThresholds():
                return self._watch.thresholds
            case SetThresholds(changes):
                self._tell(self._watch.set_thresholds(changes))
                return self._watch.thresholds
            case StartMonitoring(interval_s):
                return self._start(interval_s)
            case StopMonitoring():
                return self._stop()
            case GetSamples(last, agents):
                return self._watch.samples(last, agents=agents)
            case GetRecommendations():
                return self._watch.recommendations()
            case _:
                return await super().on_control(body)

    def details(self) -> Mapping[str, Any]:
        """Return the latest judgement and how the sampling and the publishing go."""
        health, outbox = self._health(), self._outbox
        return {
            "score": health.score if health else None,
            "band": health.band if health else "unknown",
            "monitoring": "active" if self._is_active() else "stopped",
            "interval_s": self._watch.sampling.interval_s,
            "samples": len(self._watch),
            "retention": self._watch.sampling.retention,
            "retention_h": self._watch.sampling.retention_h,
            "agents": len(self._watch.roster),
            "open_alerts": len(self._watch.book),
            "refused_alerts": self._watch.book.refused,
            "failed_samples": self._failed,
            "last_error": self._last_error,
            "problems": list(health.problems) if health else self._problems(None),
            "bus": self._bus,
            "published": outbox.published if outbox else 0,
            "unpublished": outbox.waiting if outbox else 0,
            "publish_failures": outbox.failed + outbox.given_up if outbox else 0,
            "publish_error": outbox.last_error if outbox else "",
        }

    # the timer ----------------------------------------------------------------------------------------------------
    def _start(self, interval_s: float | None) -> bool:
        sampling = self._watch.sampling
        if interval_s is not None:
            sampling = dataclasses.replace(sampling, interval_s=interval_s)
        was_active, is_changed = self._is_active(), sampling != self._watch.sampling
        if was_active and not is_changed:
            return False
        self._cancel_timer()
        self._watch.sampling = sampling
        self._timer = asyncio.get_running_loop().create_task(self._sample_for_ever())
        self._tell([Notice("monitoring_started", {"interval_s": sampling.interval_s})])
        return not was_active

    def _stop(self) -> bool:
        was_active = self._is_active()
        self._cancel_timer()
        if was_active:
            self._tell([Notice("monitoring_stopped", {})])
        return was_active

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_active(self) -> bool:
        return self._timer is not None and not self._timer.done()

    async def _sample_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._watch.sampling.interval_s)
            try:
                await self._sample()
            except Exception as error:  # noqa: BLE001 - whatever a look raises: counted and told, and the next one comes
                _log.warning("monitor %r could not sample: %s", self.context.name, error, exc_info=True)

    # a look -------------------------------------------------------------------------------------------------------
    async def _sample(self) -> None:
        """Look at the whole system once, or share the look of someone who began it after this was asked for."""
        asked_at = self.context.clock.monotonic()
        async with self._looking:
            if self._began_at is not None and self._began_at > asked_at:
                return
            try:
                async with asyncio.timeout(self._watch.sampling.timeout_s):
                    await self._look()
            except Exception as error:
                self._failed += 1
                self._failing += 1
                text = str(error) or f"not done within {self._watch.sampling.timeout_s:g} s"
                self._last_error = f"{type(error).__name__}: {text}"
                raise
            self._failing = 0

    async def _look(self) -> None:
        clock = self.context.clock
        began_at = clock.monotonic()
        system = await self.context.run_blocking(self._probe.read, began_at)
        tree = await self.context.tree()
        now = clock.now()
        survey = self._watch.survey(now)
        for count, node in enumerate(tree.agents(), 1):
            survey.add(node)
            if count % _AT_ONE_GO == 0:
                await asyncio.sleep(0)
        self._tell(self._watch.conclude(survey, system, now, clock.monotonic() - began_at))
        self._began_at = began_at

    # answers ------------------------------------------------------------------------------------------------------
    async def _get_health(self, fresh: bool) -> Health:  # noqa: FBT001 - the field of the message
        if fresh or self._watch.health is None:
            await self._sample()
        health = self._health()
        if health is None:  # pragma: no cover - a sample gives a health or raises
            raise RuntimeError("a sample gives a health")
        return health

    def _health(self) -> Health | None:
        """Return the latest judgement with what speaks against it by now."""
        health = self._watch.health
        if health is None:
            return None
        problems = (*health.problems, *self._problems(health.at))
        is_stale = self._age(health.at) > self._watch.sampling.stale_s
        return dataclasses.replace(health, problems=problems, band="unknown" if is_stale else health.band)

    def _problems(self, sampled_at: float | None) -> list[str]:
        found = []
        if self._failing:
            found.append(f"the last {self._failing} samples failed: {self._last_error}")
        if not self._is_active():
            found.append("monitoring is stopped")
        if sampled_at is not None and (age := self._age(sampled_at)) > self._watch.sampling.stale_s:
            found.append(f"the latest sample is {age:.0f} s old")
        return found

    def _age(self, sampled_at: float) -> float:
        return abs(self.context.clock.now() - sampled_at)  # a clock that was set back makes a sample doubtful too

    def _acknowledge(self, request: AcknowledgeAlert) -> OpenAlert:
        entry, notices = self._watch.acknowledge(request.alert_id, request.by, self.context.clock.now(), request.note)
        self._tell(notices)
        return entry

    def _tell(self, notices: list[Notice]) -> None:
        for what, data, subject in notices:
            if what in {"agent_enrolled", "agent_left"}:
                _log.info("monitor %r: %s: %s", self.context.name, what, data)
            if self._outbox is not None:
                self._outbox.put(f"monitor.{what}", data, subject)
