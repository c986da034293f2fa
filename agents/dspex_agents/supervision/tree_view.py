"""The tree as people and monitors see it: supervisors' states joined with what the hosts report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dspex_agents.agent import AgentStatus, TreeNode
from dspex_agents.runtime.reports import HostReport
from dspex_agents.supervision.child import Child
from dspex_agents.supervision.child_spec import SupervisorSpec
from dspex_agents.supervision.supervisor_state import SupervisorState

Figures = Mapping[str, tuple[HostReport, AgentStatus]]


def figures_by_agent(reports: Iterable[HostReport]) -> dict[str, tuple[HostReport, AgentStatus]]:
    """Return each agent's status with the report of its host."""
    return {status.name: (report, status) for report in reports for status in report.agents}


def tree_of(
    state: SupervisorState, nested: Mapping[str, SupervisorState], figures: Figures, restarts: int = 0, reason: str = ""
) -> TreeNode:
    """Return the node of a supervisor with all below it; `nested` finds a supervisor's state by its id."""
    children = []
    for id_, child in state.children.items():
        if not isinstance(child.spec, SupervisorSpec):
            children.append(_leaf(id_, child, figures))
        elif id_ in nested:
            children.append(tree_of(nested[id_], nested, figures, child.restarts, child.last_reason))
    return TreeNode(
        state.spec.id,
        "supervisor",
        state.phase,
        restarts,
        reason,
        children=tuple(children),
        strategy=state.spec.strategy,
    )


def _leaf(id_: str, child: Child, figures: Figures) -> TreeNode:
    report, status = figures.get(id_, (None, None))
    if report is None or status is None or status.epoch != child.epoch:
        return TreeNode(id_, "agent", child.status, child.restarts, child.last_reason)
    return TreeNode(
        id_,
        "agent",
        status.status if child.status == "running" else child.status,
        child.restarts,
        child.last_reason,
        host=report.host_id,
        pid=report.pid,
        memory_bytes=report.memory_bytes,
        agent=status,
        node=report.node,
    )
