"""`AlertBook`: what happens to an alert from sample to sample: open, acknowledged, resolved, told now and then."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from dspex_agents.errors import MessageError, SpecError
from dspex_agents.monitoring.alert import Alert

AlertState = Literal["open", "acknowledged", "resolved"]
Happening = Literal["triggered", "resolved"]


class UnknownAlertError(MessageError):
    """No alert of this id is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRules:
    """How alerts live on. Raises SpecError.

    One resolves after `clear_after` samples in a row without it. It is told when it opens, and again every
    `cooldown_s` seconds until someone acknowledges it; one that comes back within that time opens without a word.
    At most `max_open` are open; `history` resolved ones are kept.
    """

    clear_after: int = 2
    cooldown_s: float = 300.0
    max_open: int = 1000
    history: int = 1000

    def __post_init__(self) -> None:
        for name in ("clear_after", "max_open", "history"):
            if getattr(self, name) < 1:
                raise SpecError(f"alert rules: {name} must be at least 1, got {getattr(self, name)!r}.")
        if not self.cooldown_s >= 0:
            raise SpecError(f"alert rules: cooldown_s must not be negative, got {self.cooldown_s!r}.")


@dataclass(frozen=True, slots=True)
class OpenAlert:
    """One alert on its way. Times are seconds since the epoch; `seen` counts samples, `missed` those without it lately.

    `alert` is the latest one found. In the history `resolved_at` is set.
    """

    alert: Alert
    since: float
    seen: int = 1
    missed: int = 0
    last_seen_at: float = 0.0
    acknowledged_by: str = ""
    acknowledged_at: float | None = None
    note: str = ""
    resolved_at: float | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether someone took note."""
        return self.acknowledged_at is not None

    @property
    def state(self) -> AlertState:
        """Where it is on its way."""
        if self.resolved_at is not None:
            return "resolved"
        return "acknowledged" if self.acknowledged else "open"


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """Something to tell."""

    what: Happening
    entry: OpenAlert


class AlertBook:
    """Pure: told what each sample found, it says what is worth telling."""

    def __init__(self, rules: AlertRules | None = None) -> None:
        self.rules = rules or AlertRules()
        self.refused = 0
        """How many alerts of the latest sample found no room."""
        self._open: dict[str, OpenAlert] = {}
        self._told_at: dict[str, float] = {}
        self._history: deque[OpenAlert] = deque(maxlen=self.rules.history)

    def observe(self, found: Iterable[Alert], now: float) -> list[AlertEvent]:
        """Take in all alerts that a sample found; of two with one id the first counts, critical ones come first."""
        alerts: dict[str, Alert] = {}
        for alert in sorted(found, key=lambda alert: alert.severity != "critical"):
            alerts.setdefault(alert.id, alert)
        events = self._resolve(alerts, now)
        self.refused = 0
        warnings = [id_ for id_, entry in self._open.items() if entry.alert.severity != "critical"]
        for alert in alerts.values():
            entry = self._open.get(alert.id)
            if entry is not None:
                entry = replace(entry, alert=alert, seen=entry.seen + 1, missed=0, last_seen_at=now)
            elif self._has_room(alert, warnings):
                entry = OpenAlert(alert, now, last_seen_at=now)
            else:
                self.refused += 1
                continue
            self._open[alert.id] = entry
            if not entry.acknowledged and not self._is_cooling(alert.id, now):
                self._told_at[alert.id] = now
                events.append(AlertEvent("triggered", entry))
        self._forget_told(now)
        return events

    def acknowledge(self, alert_id: str, by: str, now: float, note: str = "") -> tuple[OpenAlert, bool]:
        """Note who saw it and return the entry, and False if someone had already: then the first one stays.

        Raises UnknownAlertError for one that is not open.
        """
        entry = self._open.get(alert_id)
        if entry is None:
            some = ", ".join(list(self._open)[:10]) or "none"
            raise UnknownAlertError(f"No open alert {alert_id!r}. Open: {some}.")
        if entry.acknowledged:
            return entry, False
        entry = replace(entry, acknowledged_by=by, acknowledged_at=now, note=note)
        self._open[alert_id] = entry
        return entry, True

    def open(self) -> tuple[OpenAlert, ...]:
        """Return what is not resolved, oldest first."""
        return tuple(sorted(self._open.values(), key=lambda entry: entry.since))

    def history(self, limit: int) -> tuple[OpenAlert, ...]:
        """Return the latest resolved alerts, at most `limit`, latest last."""
        return tuple(self._history)[-limit:] if limit > 0 else ()

    def __len__(self) -> int:
        return len(self._open)

    def _resolve(self, found: dict[str, Alert], now: float) -> list[AlertEvent]:
        events = []
        for id_, entry in list(self._open.items()):
            if id_ in found:
                continue
            missed = entry.missed + 1
            if missed < self.rules.clear_after:
                self._open[id_] = replace(entry, missed=missed)
            else:
                closed = replace(self._open.pop(id_), missed=missed, resolved_at=now)
                self._history.append(closed)
                if self._told_at.get(id_, -math.inf) >= entry.since:  # of what nobody was told, nobody hears the end
                    events.append(AlertEvent("resolved", closed))
        return events

    def _has_room(self, alert: Alert, warnings: list[str]) -> bool:
        """Return whether it may open; where all places are taken, a critical one takes that of the latest warning."""
        if len(self._open) < self.rules.max_open:
            return True
        if alert.severity != "critical" or not warnings:
            return False
        del self._open[warnings.pop()]
        return True

    def _is_cooling(self, id_: str, now: float) -> bool:
        told_at = self._told_at.get(id_)
        return told_at is not None and 0 <= now - told_at < self.rules.cooldown_s

    def _forget_told(self, now: float) -> None:
        self._told_at = {
            id_: at for id_, at in self._told_at.items() if id_ in self._open or self._is_cooling(id_, now)
        }
