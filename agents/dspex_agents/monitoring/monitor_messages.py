"""What a monitor is asked, all of it as control messages: it answers while it samples, while it is stopped, always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GetHealth:
    """Answer with the latest `Health`; `fresh` samples first. Without any sample yet, one is taken."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class GetAlerts:
    """Answer with a list of `OpenAlert`, oldest first."""


@dataclass(frozen=True, slots=True)
class GetAlertHistory:
    """Answer with the latest resolved alerts, at most `limit`, latest last, as a list of `OpenAlert`."""

    limit: int = 100


@dataclass(frozen=True, slots=True)
class AcknowledgeAlert:
    """Note that `by` has seen an open alert; answered with its `OpenAlert`. The first one who does stays noted."""

    alert_id: str
    by: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class GetThresholds:
    """Answer with the `Thresholds` in force."""


@dataclass(frozen=True, slots=True)
class SetThresholds:
    """Change some thresholds; answered with the `Thresholds`, or with an error that names every bad field.

    They hold until the monitor is restarted: then those of its specification do.
    """

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StartMonitoring:
    """Sample on the timer again, every `interval_s` seconds where given; answered with whether it had been stopped."""

    interval_s: float | None = None


@dataclass(frozen=True, slots=True)
class StopMonitoring:
    """Sample on request only; answered with whether the timer had been running."""


@dataclass(frozen=True, slots=True)
class GetSamples:
    """Answer with the latest samples, at most `last`, latest last, as a list of `Sample`.

    `agents` adds the figures of every agent to the latest one.
    """

    last: int = 1
    agents: bool = False


@dataclass(frozen=True, slots=True)
class GetRecommendations:
    """Answer with what to do about the open alerts: a tuple of `Recommendation`, one a kind."""
