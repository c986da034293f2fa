"""Trees of agents and figures of nodes for the monitoring suites; importable in every process a test starts."""

from __future__ import annotations

from typing import Any

from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.monitoring.system_probe import SystemFigures

WELL = SystemFigures(node="n1", cpus=2.0, cpu_usage=10.0, memory_usage=20.0, disk_usage=30.0)


class FixedProbe:
    """Gives the figures it was made with, whatever this machine is doing."""

    def __init__(self, figures: SystemFigures = WELL) -> None:
        self.figures = figures

    def read(self, now: float) -> SystemFigures:
        return self.figures


def up(id_: str, *, memory: int = 0, restarts: int = 0, pid: int = 7, reason: str = "", **status: Any) -> TreeNode:
    """Return an agent that gave its figures."""
    fields = {"mailbox": 0, "in_flight": 0, "handled": 0, "failed": 0, "started_at": 0.0, "idle_s": 0.0}
    found = AgentStatus(name=id_, **{"epoch": 1, "status": "idle", "mailbox_size": 1000, **fields, **status})
    return TreeNode(
        id_, "agent", found.status, restarts, reason, "host-1", pid=pid, memory_bytes=memory, agent=found, node="n1"
    )


def down(id_: str, reason: str = "", status: str = "backoff", restarts: int = 0) -> TreeNode:
    """Return an agent without figures."""
    return TreeNode(id_, "agent", status, restarts, reason)


def tree(*nodes: TreeNode) -> TreeNode:
    """Return a system of these."""
    return TreeNode("top", "supervisor", "running", children=nodes)
