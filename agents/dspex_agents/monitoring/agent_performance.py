"""How well each agent works: issues with what to do about them, and one word for it."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from dspex_agents.errors import SpecError
from dspex_agents.monitoring.anomalies import Trend, trend
from dspex_agents.monitoring.roster import AgentFigures

PerformanceLevel = Literal["optimal", "normal", "degraded", "critical"]
LEVELS: tuple[PerformanceLevel, ...] = ("critical", "degraded", "normal", "optimal")
_TREND_TOLERANCE = 0.2
_MIN_LOOKS = 5
_MANY_ISSUES = 3
_SUGGESTIONS: Mapping[str, tuple[str, str]] = {
    "down": ("agent {agent} is {status}", "Look at its last reason and its log."),
    "response_ms": (
        "agent {agent} takes {current:.0f} ms for a message",
        "Look at what it waits for, and let it work on more at once.",
    ),
    "error_rate": ("agent {agent} fails {current:.1f} % of its messages", "Look at its errors by type."),
    "mailbox": ("{current:.0f} messages wait at agent {agent}", "Add agents of its kind or slow its callers down."),
    "throughput": (
        "agent {agent} finishes {current:.1f} messages a minute while more wait",
        "Look at what blocks it; add agents of its kind.",
    ),
    "process_memory": (
        "the process of agent {agent} holds {mib:.0f} MiB",
        "Look for what its agents keep; give it a process of its own.",
    ),
    "responsiveness": (
        "agent {agent} was responsive at {percent:.0f} % of the looks",
        "Look for work that blocks its event loop, or for a message that never ends.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceLimits:
    """What is allowed. Raises SpecError that names every bad field.

    At most: `response_ms` mean milliseconds for a message, `error_rate` percent, `mailbox` messages waiting,
    `process_memory` bytes. At least: `throughput` messages finished a minute while others wait, and `responsiveness`,
    the share (0 to 1) of the last `window` looks at which the agent was up and got on with what waited. An error rate
    over fewer messages than `min_handled` says nothing.
    """

    response_ms: float = 5000.0
    error_rate: float = 5.0
    mailbox: float = 100.0
    throughput: float = 10.0
    process_memory: float = 2.0 * 1024**3
    responsiveness: float = 0.9
    window: int = 20
    min_handled: int = 20

    def __post_init__(self) -> None:
        bad = [
            f"{each.name} must be above 0, got {getattr(self, each.name)!r}"
            for each in dataclasses.fields(self)
            if not getattr(self, each.name) > 0
        ]
        if self.responsiveness > 1:
            bad.append(f"responsiveness must be at most 1, got {self.responsiveness!r}")
        if self.window < _MIN_LOOKS:
            bad.append(f"window must be at least {_MIN_LOOKS}, got {self.window!r}")
        if bad:
            raise SpecError(f"performance limits: {'; '.join(bad)}.")


class Issue(NamedTuple):
    """One figure beyond its limit, in words, and what to do about it."""

    kind: str
    current: float
    limit: float
    text: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class AgentPerformance:
    """One agent. `trend` is that of its response time: "rising" is slower. `throughput` is messages a minute."""

    agent: str
    level: PerformanceLevel
    issues: tuple[Issue, ...]
    trend: Trend
    responsiveness: float
    throughput: float
    figures: AgentFigures

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "agent": self.agent,
            "level": self.level,
            "issues": [issue.text for issue in self.issues],
            "suggestions": [issue.suggestion for issue in self.issues],
            "trend": self.trend,
            "responsiveness": self.responsiveness,
            "throughput": self.throughput,
            "response_ms": self.figures.response_ms,
            "error_rate": self.figures.error_rate,
            "mailbox": self.figures.mailbox,
            "memory_bytes": self.figures.memory_bytes,
            "status": self.figures.status,
        }


@dataclass(slots=True)
class _Past:
    responsive: deque[bool]
    response_ms: deque[float] = field(default_factory=deque)


class PerformanceWatch:
    """Pure: told the figures of each agent at each look."""

    def __init__(self, limits: PerformanceLimits | None = None) -> None:
        self.limits = limits or PerformanceLimits()
        self._past: dict[str, _Past] = {}

    def observe(self, figures: AgentFigures) -> AgentPerformance | None:
        """Judge one agent; None for one that ended in good order, is starting, or has just missed one look."""
        if figures.state in {"ended", "starting", "late"}:
            return None
        past = self._past.get(figures.name)
        if past is None:
            window = self.limits.window
            past = self._past[figures.name] = _Past(deque(maxlen=window), deque(maxlen=window))
        past.responsive.append(figures.state == "alive" and figures.progressed)
        if figures.response_ms is not None:
            past.response_ms.append(figures.response_ms)
        responsiveness = sum(past.responsive) / len(past.responsive)
        throughput = 60.0 * figures.done / figures.span_s if figures.span_s else 0.0
        known = responsiveness if len(past.responsive) >= _MIN_LOOKS else 1.0
        issues = _issues(figures, throughput, known, self.limits)
        way = trend(past.response_ms, _TREND_TOLERANCE)
        level = _level(figures, issues, way, self.limits)
        return AgentPerformance(figures.name, level, issues, way, responsiveness, throughput, figures)

    def forget(self, names: Iterable[str]) -> None:
        """Forget agents that left."""
        for name in names:
            self._past.pop(name, None)


def _issues(
    figures: AgentFigures, throughput: float, responsiveness: float, limits: PerformanceLimits
) -> tuple[Issue, ...]:
    if figures.state != "alive":
        return (_issue("down", figures, 0.0, 1.0),)
    found: list[tuple[str, float, float]] = []
    if figures.response_ms is not None and figures.response_ms > limits.response_ms:
        found.append(("response_ms", figures.response_ms, limits.response_ms))
    if figures.done >= limits.min_handled and (rate := figures.error_rate or 0.0) > limits.error_rate:
        found.append(("error_rate", rate, limits.error_rate))
    if figures.mailbox > limits.mailbox:
        found.append(("mailbox", figures.mailbox, limits.mailbox))
    if figures.mailbox and figures.span_s and throughput < limits.throughput:  # one that has nothing to do is not slow
        found.append(("throughput", throughput, limits.throughput))
    if figures.memory_bytes > limits.process_memory:
        found.append(("process_memory", figures.memory_bytes, limits.process_memory))
    if responsiveness < limits.responsiveness:
        found.append(("responsiveness", responsiveness, limits.responsiveness))
    return tuple(_issue(kind, figures, current, limit) for kind, current, limit in found)


def _issue(kind: str, figures: AgentFigures, current: float, limit: float) -> Issue:
    text, suggestion = _SUGGESTIONS[kind]
    status = "silent" if figures.state == "silent" else figures.status
    words = {"agent": figures.name, "status": status, "mib": current / 2**20, "percent": 100.0 * current}
    return Issue(kind, current, limit, text.format(current=current, **words), suggestion)


def _level(figures: AgentFigures, issues: tuple[Issue, ...], way: Trend, limits: PerformanceLimits) -> PerformanceLevel:
    if figures.state != "alive" or len(issues) >= _MANY_ISSUES:
        return "critical"
    if issues:
        return "degraded"
    shares = (
        (figures.response_ms or 0.0) / limits.response_ms,
        (figures.error_rate or 0.0) / limits.error_rate,
        figures.mailbox / limits.mailbox,
        figures.memory_bytes / limits.process_memory,
    )
    return "normal" if max(shares) > 0.5 or way == "rising" else "optimal"  # noqa: PLR2004 - half of what is allowed


def system_recommendations(found: Iterable[AgentPerformance]) -> list[str]:
    """Return one sentence for each kind of issue: the worst case, how many agents have it, and what to do."""
    by_kind: dict[str, list[Issue]] = {}
    for performance in found:
        for issue in performance.issues:
            by_kind.setdefault(issue.kind, []).append(issue)
    sentences = []
    for kind in _SUGGESTIONS:
        if group := by_kind.get(kind):
            is_floor = kind in {"throughput", "responsiveness"}
            worst = (min if is_floor else max)(group, key=lambda issue: issue.current)
            more = f" (and {len(group) - 1} more)" if len(group) > 1 else ""
            sentences.append(f"{worst.text[:1].upper()}{worst.text[1:]}{more}. {worst.suggestion}")
    return sentences
