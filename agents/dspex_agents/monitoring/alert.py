"""`Alert`: one thing that is wrong, found by holding figures against thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dspex_agents.monitoring.roster import AgentFigures
from dspex_agents.monitoring.system_probe import SystemFigures
from dspex_agents.monitoring.thresholds import Thresholds

Severity = Literal["warning", "critical"]
_MIB = 2**20


class _Kind(NamedTuple):
    severity: Severity
    text: str
    advice: str


KINDS: Mapping[str, _Kind] = {
    "down": _Kind("critical", "agent {agent} is {extra}", "Look at its last reason and its log."),
    "silent": _Kind(
        "critical",
        "the process of agent {agent} does not answer",
        "Look for work that blocks its event loop; such work belongs on a thread (`run_blocking`).",
    ),
    "agent_failures": _Kind(
        "critical",
        "agent {agent} was restarted {current:.0f} times lately{extra}",
        "Look at the reason of its restarts before its supervisor gives up.",
    ),
    "error_rate": _Kind(
        "warning",
        "agent {agent} fails {current:.1f} % of its messages",
        "Look at its errors by type; pause it if they are not its own.",
    ),
    "response_time": _Kind(
        "warning",
        "agent {agent} takes {current:.0f} ms for a message",
        "Look at what it waits for; add agents of its kind if it works all the time.",
    ),
    "mailbox_fill": _Kind(
        "warning",
        "the mailbox of agent {agent} is {current:.0f} % full",
        "Add agents of its kind or slow its callers down.",
    ),
    "queue_growth": _Kind(
        "warning",
        "the mailbox of agent {agent} grew by {current:.0f} messages lately",
        "Add agents of its kind before its mailbox is full.",
    ),
    "process_memory": _Kind(
        "warning",
        "the process of agent {agent}{extra} holds {mib:.0f} MiB",
        "Give agents that keep much a process of their own and look for what they keep.",
    ),
    "cpu_usage": _Kind(
        "warning",
        "the CPUs of node {extra} are {current:.1f} % busy",
        "Add nodes or CPUs, or let fewer agents work at once.",
    ),
    "memory_usage": _Kind(
        "warning",
        "the memory of node {extra} is {current:.1f} % used",
        "Move agents to other nodes or give this one more memory, before the kernel ends processes.",
    ),
    "disk_usage": _Kind(
        "warning",
        "the disk of node {extra} is {current:.1f} % used",
        "Make room: old logs, sessions and databases; a full disk stops the store.",
    ),
    "anomaly": _Kind("warning", "{extra}", "See what changed at that time; it is far from what it was before."),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong. `id` is the same for the same trouble of the same agent, so that it is told once.

    `agent` is empty where it is not that of one agent. `current` and `threshold` have the unit of the threshold of
    that kind.
    """

    id: str
    kind: str
    severity: Severity
    agent: str
    message: str
    current: float
    threshold: float
    recommendation: str


def alert_of(kind: str, current: float, threshold: float, *, agent: str = "", id_: str = "", extra: str = "") -> Alert:
    """Build the alert of a kind of the table; `id_` names what it is about where that is no agent."""
    severity, text, advice = KINDS[kind]
    message = text.format(agent=agent, current=current, mib=current / _MIB, extra=extra)
    return Alert(f"{kind}:{id_ or agent}", kind, severity, agent, message, current, threshold, advice)


def agent_alerts(figures: AgentFigures, limits: Thresholds) -> list[Alert]:
    """Return what is wrong with one agent."""
    name, reason = figures.name, f": {figures.reason}" if figures.reason else ""
    found = []
    if figures.state == "down":
        found.append(alert_of("down", 0, 1, agent=name, extra=figures.status + reason))
    elif figures.state == "silent":
        found.append(alert_of("silent", 0, 1, agent=name))
    if figures.failures > limits.agent_failures:
        found.append(alert_of("agent_failures", figures.failures, limits.agent_failures, agent=name, extra=reason))
    if figures.done >= limits.min_handled:
        if figures.error_rate is not None and figures.error_rate > limits.error_rate:
            found.append(alert_of("error_rate", figures.error_rate, limits.error_rate, agent=name))
        if figures.response_ms is not None and figures.response_ms > limits.response_time:
            found.append(alert_of("response_time", figures.response_ms, limits.response_time, agent=name))
    if figures.mailbox and (fill := figures.mailbox_fill) is not None and fill > limits.mailbox_fill:
        found.append(alert_of("mailbox_fill", fill, limits.mailbox_fill, agent=name))
    if figures.queue_growth > limits.queue_growth:
        found.append(alert_of("queue_growth", figures.queue_growth, limits.queue_growth, agent=name))
    return found


def system_alerts(figures: SystemFigures, limits: Thresholds) -> list[Alert]:
    """Return what is wrong with the node; a figure that is not known is no trouble here."""
    usages = (
        ("cpu_usage", figures.cpu_usage, limits.cpu_usage),
        ("memory_usage", figures.memory_usage, limits.memory_usage),
        ("disk_usage", figures.disk_usage, limits.disk_usage),
    )
    node = figures.node or "here"
    return [
        alert_of(kind, usage, limit, id_=node, extra=node)
        for kind, usage, limit in usages
        if usage is not None and usage > limit
    ]


class Process(NamedTuple):
    """One process of the system: where, how much memory (bytes), the first of its agents, how many there are."""

    node: str
    pid: int
    memory_bytes: int
    agent: str
    agents: int


def process_alerts(processes: Iterable[Process], limits: Thresholds) -> list[Alert]:
    """Return the processes that hold too much: one alert each, however many agents live in it."""
    return [
        alert_of(
            "process_memory",
            process.memory_bytes,
            limits.process_memory,
            agent=process.agent,
            id_=f"{process.node}:{process.pid}",
            extra=f" and {process.agents - 1} others" if process.agents > 1 else "",
        )
        for process in processes
        if process.memory_bytes > limits.process_memory
    ]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do about one kind of trouble: the worst case with its figure, how many there are, and the advice."""

    kind: str
    severity: Severity
    text: str
    alerts: int


def recommendations(alerts: Iterable[Alert]) -> tuple[Recommendation, ...]:
    """Return one recommendation for each kind of alert, in the order of the table of kinds: critical ones first."""
    by_kind: dict[str, list[Alert]] = {}
    for alert in alerts:
        by_kind.setdefault(alert.kind, []).append(alert)
    found = []
    for kind in KINDS:
        if not (group := by_kind.get(kind)):
            continue
        worst = max(group, key=lambda alert: alert.current)
        more = f" (and {len(group) - 1} more)" if len(group) > 1 else ""
        text = f"{worst.message[:1].upper()}{worst.message[1:]}{more}. {worst.recommendation}"
        found.append(Recommendation(kind, worst.severity, text, len(group)))
    return tuple(found)
