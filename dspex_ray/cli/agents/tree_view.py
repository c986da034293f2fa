"""A system's tree for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.text import Text
from rich.tree import Tree

from dspex_agents.agent import AgentStatus, TreeNode

_COLOURS = {
    "running": "green",
    "idle": "green",
    "processing": "cyan",
    "paused": "yellow",
    "starting": "yellow",
    "backoff": "yellow",
    "stopping": "yellow",
}
_SOUND = frozenset({"running", "idle", "processing"})
_ID_WIDTH = 32
_NODE_WIDTH = 8
_MIB = 1024**2


def tree_json(node: TreeNode) -> dict[str, Any]:
    """Return the node and all below it as JSON values; an agent's own `details` are left to `inspect`."""
    return {
        "id": node.id,
        "kind": node.kind,
        "status": node.status,
        "strategy": node.strategy,
        "restarts": node.restarts,
        "last_reason": node.last_reason,
        "node": node.node,
        "host": node.host,
        "pid": node.pid,
        "memory_bytes": node.memory_bytes,
        "agent": None if node.agent is None else asdict(replace(node.agent, details={})),
        "children": [tree_json(child) for child in node.children],
    }


def tree_for_people(system: str, top: TreeNode, limit: int) -> Tree:
    """Return the tree to be printed; of each supervisor's children at most `limit`, the unsound ones first."""
    tree = Tree(_heading(system, top), guide_style="dim")
    _add(tree, (top,), limit)
    return tree


def summary(agents: Iterable[TreeNode]) -> str:
    """Return how many there are in each status, such as `12 agents: 10 idle, 2 processing`."""
    counted = Counter(node.status for node in agents)
    total = counted.total()
    listed = ", ".join(f"{count:,} {status}" for status, count in counted.most_common())
    return f"{total:,} agent{'' if total == 1 else 's'}" + (f": {listed}" if listed else "")


def megabytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / _MIB:,.0f} MiB"


def coloured(status: str, width: int = 0) -> Text:
    """Return the status in its colour: green for sound, yellow for passing, red for down."""
    return Text(status.ljust(width), style=_COLOURS.get(status, "red"))


def place(node: TreeNode) -> str:
    """Return where the agent lives: host, process, memory of that process, node of the cluster."""
    return (
        f"{node.host} (pid {node.pid}, {megabytes(node.memory_bytes)}) on {node.node[:_NODE_WIDTH] or 'this machine'}"
    )


def _heading(system: str, top: TreeNode) -> Text:
    agents = top.agents()
    processes = {(node.node, node.pid): node.memory_bytes for node in agents if node.pid}
    hosts = f"{len(processes)} process{'' if len(processes) == 1 else 'es'}, {megabytes(sum(processes.values()))}"
    return Text.assemble((system, "bold"), f"  {summary(agents)}; {hosts}")


def _add(tree: Tree, nodes: Sequence[TreeNode], limit: int) -> None:
    shown, hidden = _shown(nodes, limit)
    ids = min(_ID_WIDTH, max((len(node.id) for node in shown), default=0))
    statuses = max((len(node.status) for node in shown), default=0)
    for node in shown:
        branch = tree.add(_line(node, ids, statuses))
        _add(branch, node.children, limit)
    if hidden:
        tree.add(Text(f"... and {_hidden(hidden)}", style="dim"))


def _shown(nodes: Sequence[TreeNode], limit: int) -> tuple[list[TreeNode], list[TreeNode]]:
    """Return those to show, in their order, and the rest."""
    first = sorted(range(len(nodes)), key=lambda i: (nodes[i].status in _SOUND, i))
    return [nodes[i] for i in sorted(first[:limit])], [nodes[i] for i in first[limit:]]


def _hidden(nodes: Sequence[TreeNode]) -> str:
    supervisors = sum(node.kind != "agent" for node in nodes)
    below = summary(leaf for node in nodes for leaf in node.agents())
    return f"{supervisors:,} supervisors with {below}" if supervisors else below.replace("agent", "more agent", 1)


def _line(node: TreeNode, ids: int, statuses: int) -> Text:
    line = Text.assemble((node.id.ljust(ids), "bold" if node.kind != "agent" else ""), "  ")
    line.append_text(coloured(node.status, statuses))
    if node.kind != "agent":
        line.append(f"  {node.strategy}", style="dim")
    elif node.agent is not None:
        line.append_text(_figures(node.agent))
    if node.restarts:
        line.append(f"  restarts {node.restarts}", style="yellow")
    if node.last_reason:
        line.append(f"  last end: {node.last_reason}", style="yellow")
    if node.host:
        line.append(f"  {place(node)}", style="dim")
    return line


def _figures(told: AgentStatus) -> Text:
    full = told.mailbox_size and told.mailbox >= told.mailbox_size
    line = Text(f"  {told.kind}", style="dim")
    line.append(f"  mailbox {told.mailbox}/{told.mailbox_size}", style="red" if full else "not dim")
    line.append(f"  in flight {told.in_flight}/{told.concurrency}  handled {told.handled}", style="not dim")
    line.append(f"  failed {told.failed}", style="not dim red" if told.failed else "not dim")
    if told.rejected:
        line.append(f"  rejected {told.rejected}", style="not dim red")
    if told.paused:
        line.append(f"  paused: {told.paused}", style="not dim yellow")
    return line
