"""Health of a system as a pure function of its tree: a score, a band, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dspex_agents.agent import TreeNode

Band = Literal["excellent", "good", "fair", "poor", "critical"]
_BANDS: tuple[tuple[float, Band], ...] = ((90, "excellent"), (75, "good"), (50, "fair"), (25, "poor"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a figure becomes an alert. Share in percent, memory in bytes of one process, age in seconds."""

    error_rate: float = 5.0
    mailbox_fill: float = 80.0
    memory_bytes: int = 2 * 1024**3
    min_handled: int = 20
    """An error rate over fewer messages than this says nothing."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong. `id` is the same for the same trouble of the same agent, so that it is told once."""

    id: str
    severity: Literal["warning", "critical"]
    agent: str
    message: str
    current: float
    threshold: float
    recommendation: str


@dataclass(frozen=True, slots=True)
class Health:
    """Score 0 to 100 (share of agents up, less 5 for each warning and 15 for each critical alert), band and alerts."""

    score: float
    band: Band
    agents: int
    alive: int
    alerts: tuple[Alert, ...]


def assess(tree: TreeNode, thresholds: Thresholds, mailbox_size: int = 1000) -> Health:
    """Judge a tree. An agent counts as alive when its host answered for it."""
    agents = tree.agents()
    alive = sum(1 for node in agents if node.agent is not None)
    alerts = tuple(alert for node in agents for alert in _alerts(node, thresholds, mailbox_size))
    penalty = sum(15 if alert.severity == "critical" else 5 for alert in alerts)
    score = max(0.0, 100.0 * alive / len(agents) - penalty) if agents else 100.0
    return Health(round(score, 1), _band(score), len(agents), alive, alerts)


def _band(score: float) -> Band:
    for bound, name in _BANDS:
        if score >= bound:
            return name
    return "critical"


def _alerts(node: TreeNode, limits: Thresholds, mailbox_size: int) -> list[Alert]:
    if node.agent is None:
        text = f"agent {node.id} is {node.status}" + (f": {node.last_reason}" if node.last_reason else "")
        return [Alert(f"down:{node.id}", "critical", node.id, text, 0, 1, "Look at its last reason and its log.")]
    found = []
    handled = node.agent.handled + node.agent.failed
    rate = 100.0 * node.agent.failed / handled if handled else 0.0
    if handled >= limits.min_handled and rate > limits.error_rate:
        text = f"agent {node.id} fails {rate:.1f} % of its messages"
        advice = "Look at its errors by type; pause it if they are not its own."
        found.append(Alert(f"errors:{node.id}", "warning", node.id, text, rate, limits.error_rate, advice))
    fill = 100.0 * node.agent.mailbox / mailbox_size
    if fill > limits.mailbox_fill:
        text = f"the mailbox of agent {node.id} is {fill:.0f} % full"
        advice = "Add agents of its kind or slow its callers down."
        found.append(Alert(f"mailbox:{node.id}", "warning", node.id, text, fill, limits.mailbox_fill, advice))
    if node.memory_bytes > limits.memory_bytes:
        text = f"the process of agent {node.id} holds {node.memory_bytes / 2**20:.0f} MiB"
        advice = "Give it a process of its own and look for what it keeps."
        found.append(
            Alert(f"memory:{node.id}", "warning", node.id, text, node.memory_bytes, limits.memory_bytes, advice)
        )
    return found
