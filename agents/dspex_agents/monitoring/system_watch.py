"""`SystemWatch`: what a monitor knows and concludes: pure, told what each look saw and when."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from dspex_agents.monitoring.alert import Alert, Recommendation, alert_of, recommendations
from dspex_agents.monitoring.alert_book import AlertBook, AlertRules, OpenAlert
from dspex_agents.monitoring.anomalies import TREND_SAMPLES, Anomaly, AnomalyWatch, Trend, trend
from dspex_agents.monitoring.health import Health, band_of, parts_of, score_of
from dspex_agents.monitoring.roster import AgentFigures, Roster
from dspex_agents.monitoring.sample import AgentTotals, Sample, Survey
from dspex_agents.monitoring.sampling import Sampling
from dspex_agents.monitoring.system_probe import SystemFigures
from dspex_agents.monitoring.thresholds import Thresholds

_MAX_NAMES = 1000


class Notice(NamedTuple):
    """Something to publish: what happened, its data as JSON values, and whom it is about."""

    what: str
    data: Mapping[str, Any]
    subject: str | None = None


class SystemWatch:
    """Thresholds, alerts, the latest health and the history of one system."""

    def __init__(self, sampling: Sampling, thresholds: Thresholds, rules: AlertRules | None = None) -> None:
        self.sampling, self.thresholds, self.book = sampling, thresholds, AlertBook(rules)
        self.roster = Roster(sampling.window_s, sampling.failure_window_s)
        self.health: Health | None = None
        self._anomalies = AnomalyWatch(sampling.sigmas)
        self._samples: deque[Sample] = deque(maxlen=sampling.retention)
        self._per_agent: tuple[AgentFigures, ...] = ()

    def __len__(self) -> int:
        return len(self._samples)

    def survey(self, now: float) -> Survey:
        """Begin a look at time `now` (seconds since the epoch): tell it each agent, then `conclude`."""
        return Survey(self.roster, self.thresholds, now)

    def conclude(self, survey: Survey, system: SystemFigures, now: float, duration_s: float) -> list[Notice]:
        """Take in a whole look and return what is worth publishing."""
        totals = survey.done(system)
        anomalies = self._anomalies.observe(_figures(totals, system), now)
        events = self.book.observe([*survey.alerts, *map(_anomaly_alert, anomalies)], now)
        self.health = self._judge(survey.troubled, totals, system, anomalies, now)
        sample = Sample(
            at=now,
            duration_s=duration_s,
            system=system,
            agents=totals,
            score=self.health.score,
            band=self.health.band,
            open_alerts=len(self.book),
        )
        self._samples.append(sample)
        self.health = replace(self.health, trends=self._trends())
        self._per_agent = tuple(survey.figures)
        enrolled, left = self.roster.end()
        notices = [Notice("agent_enrolled", _names(enrolled))] if enrolled else []
        notices += [Notice("agent_left", _names(left))] if left else []
        notices.append(Notice("metrics_collected", sample.to_json()))
        notices.append(Notice("health_analyzed", health_json(self.health)))
        notices += [alert_notice(event.what, event.entry) for event in events]
        return notices

    def acknowledge(self, alert_id: str, by: str, now: float, note: str = "") -> tuple[OpenAlert, list[Notice]]:
        """Note who saw an alert. Raises UnknownAlertError."""
        entry, is_news = self.book.acknowledge(alert_id, by, now, note)
        return entry, [alert_notice("acknowledged", entry)] if is_news else []

    def set_thresholds(self, changes: Mapping[str, Any]) -> list[Notice]:
        """Change thresholds from the next look on. Raises SpecError that names every bad field."""
        self.thresholds = self.thresholds.changed(changes)
        return [Notice("thresholds_updated", dict(changes))]

    def samples(self, last: int, *, agents: bool) -> list[Sample]:
        """Return the latest samples, latest last."""
        found = list(itertools.islice(reversed(self._samples), max(0, last)))[::-1]
        if agents and found:
            found[-1] = replace(found[-1], per_agent=self._per_agent)
        return found

    def recommendations(self) -> tuple[Recommendation, ...]:
        """Return what to do about the open alerts."""
        return recommendations(entry.alert for entry in self.book.open())

    def _judge(
        self,
        troubled: int,
        totals: AgentTotals,
        system: SystemFigures,
        anomalies: tuple[Anomaly, ...],
        now: float,
    ) -> Health:
        parts = parts_of(totals.total, totals.alive, troubled, system, self.thresholds)
        score = score_of(parts)
        alerts = tuple(entry.alert for entry in self.book.open())
        problems = system.problems
        if self.book.refused:
            problems += (f"{self.book.refused} more alerts found no room among the {len(self.book)} open ones",)
        return Health(
            score=score,
            band=band_of(score, alerts),
            agents=totals.total,
            alive=totals.alive,
            alerts=alerts,
            parts=parts,
            anomalies=anomalies,
            at=now,
            problems=problems,
        )

    def _trends(self) -> dict[str, Trend]:
        latest = self.samples(TREND_SAMPLES, agents=False)
        return {
            "cpu_usage": trend([sample.system.cpu_usage for sample in latest], floor=1.0),
            "memory_usage": trend([sample.system.memory_usage for sample in latest], floor=1.0),
            "agents": trend([float(sample.agents.alive) for sample in latest]),
            "error_rate": trend([sample.agents.error_rate for sample in latest], floor=1.0),
            "mailbox": trend([float(sample.agents.mailbox) for sample in latest], floor=10.0),
        }


def health_json(health: Health) -> dict[str, Any]:
    """Return the health as JSON values, alerts by their number."""
    return {
        "score": health.score,
        "band": health.band,
        "agents": health.agents,
        "alive": health.alive,
        "alerts": len(health.alerts),
        "parts": dict(health.parts),
        "trends": dict(health.trends),
        "anomalies": [str(anomaly) for anomaly in health.anomalies],
        "problems": list(health.problems),
    }


def alert_notice(what: str, entry: OpenAlert) -> Notice:
    """Return what to publish of an alert; the subject is its id."""
    alert = entry.alert
    data = {name: getattr(alert, name) for name in Alert.__slots__}
    entry_fields = ("since", "seen", "acknowledged_by", "acknowledged_at", "note", "resolved_at", "state")
    return Notice(f"alert_{what}", data | {name: getattr(entry, name) for name in entry_fields}, alert.id)


def _figures(totals: AgentTotals, system: SystemFigures) -> dict[str, float | None]:
    return {
        "memory_usage": system.memory_usage,
        "agents": float(totals.alive),
        "error_rate": totals.error_rate,
    }


def _anomaly_alert(anomaly: Anomaly) -> Alert:
    return alert_of("anomaly", anomaly.value, anomaly.bound, id_=anomaly.figure, extra=str(anomaly))


def _names(names: list[str]) -> dict[str, Any]:
    return {"agents": names[:_MAX_NAMES], "count": len(names)}
