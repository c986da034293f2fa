"""`Sample`: one look at a whole system as it is kept: sums, not trees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.agent import TreeNode
from dspex_agents.monitoring.alert import Alert, Process, agent_alerts, process_alerts, system_alerts
from dspex_agents.monitoring.roster import AgentFigures, Roster
from dspex_agents.monitoring.system_probe import SystemFigures
from dspex_agents.monitoring.thresholds import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTotals:
    """All agents together.

    `total` are those that should be up, `alive` those that are; `ended` ones, which are over in good order, are in
    neither. `by_status` counts them all. Since the sample before: `handled` and `failed` messages, `busy_s` seconds
    spent on them, `restarts`. Of the recent window: `error_rate` in percent and `response_ms`, both None without a
    message. `memory_bytes` is that of their `processes`, each counted once.
    """

    total: int = 0
    alive: int = 0
    ended: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    mailbox: int = 0
    longest_mailbox: int = 0
    in_flight: int = 0
    handled: int = 0
    failed: int = 0
    busy_s: float = 0.0
    restarts: int = 0
    error_rate: float | None = None
    response_ms: float | None = None
    processes: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look: its time (seconds since the epoch), how long it took, and what was seen.

    `per_agent` is filled only in the latest sample, and only where it was asked for.
    """

    at: float
    duration_s: float
    system: SystemFigures
    agents: AgentTotals
    score: float
    band: str
    open_alerts: int
    per_agent: tuple[AgentFigures, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the sums as JSON values."""
        agents = {name: getattr(self.agents, name) for name in AgentTotals.__slots__}
        system = {name: getattr(self.system, name) for name in SystemFigures.__slots__}
        return {
            "at": self.at,
            "duration_s": self.duration_s,
            "system": {**system, "load": list(self.system.load), "problems": list(self.system.problems)},
            "agents": {**agents, "by_status": dict(self.agents.by_status)},
            "score": self.score,
            "band": self.band,
            "open_alerts": self.open_alerts,
        }


class Survey:
    """Pure: one pass over the agents of a tree, node by node, then `done`. Work grows with the agents, no faster."""

    def __init__(self, roster: Roster, limits: Thresholds, now: float) -> None:
        self._roster, self._limits, self._now = roster, limits, now
        self.figures: list[AgentFigures] = []
        self.alerts: list[Alert] = []
        self.troubled = 0
        """How many agents that are up have an alert of their own."""
        self._by_status: dict[str, int] = {}
        self._processes: dict[tuple[str, int], Process] = {}
        self._alive = self._ended = self._mailbox = self._longest = self._in_flight = 0
        self._handled = self._failed = self._restarts = self._done = 0
        self._busy_s = self._window_failed = self._window_ms = 0.0
        roster.begin()

    def add(self, node: TreeNode) -> None:
        """Take in one agent."""
        figures, step = self._roster.observe(node, self._now)
        self.figures.append(figures)
        self._by_status[figures.status] = self._by_status.get(figures.status, 0) + 1
        self._restarts += step.restarts
        if found := agent_alerts(figures, self._limits):
            self.alerts += found
            self.troubled += figures.state == "alive"
        if figures.state == "ended":
            self._ended += 1
        elif figures.state == "alive":
            self._alive += 1
            self._mailbox += figures.mailbox
            self._longest = max(self._longest, figures.mailbox)
            self._in_flight += figures.in_flight
            self._handled += step.handled
            self._failed += step.failed
            self._busy_s += step.busy_s
            self._done += figures.done
            self._window_failed += figures.done * (figures.error_rate or 0.0) / 100.0
            self._window_ms += figures.done * (figures.response_ms or 0.0)
            self._add_process(figures)

    def done(self, system: SystemFigures) -> AgentTotals:
        """Add what is wrong with the node and the processes to the alerts, and return the sums."""
        processes = self._processes.values()
        self.alerts += process_alerts(processes, self._limits) + system_alerts(system, self._limits)
        done = self._done
        return AgentTotals(
            total=len(self.figures) - self._ended,
            alive=self._alive,
            ended=self._ended,
            by_status=self._by_status,
            mailbox=self._mailbox,
            longest_mailbox=self._longest,
            in_flight=self._in_flight,
            handled=self._handled,
            failed=self._failed,
            busy_s=self._busy_s,
            restarts=self._restarts,
            error_rate=100.0 * self._window_failed / done if done else None,
            response_ms=self._window_ms / done if done else None,
            processes=len(processes),
            memory_bytes=sum(process.memory_bytes for process in processes),
        )

    def _add_process(self, figures: AgentFigures) -> None:
        key = (figures.node, figures.pid)
        known = self._processes.get(key)
        if known is None:
            self._processes[key] = Process(figures.node, figures.pid, figures.memory_bytes, figures.name, 1)
        else:
            self._processes[key] = known._replace(agents=known.agents + 1)
