"""`dspex agents inspect` and `dspex agents mailbox`: one agent, closely."""

from __future__ import annotations

import json as json_text
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dspex_agents.agent import TreeNode
from dspex_agents.runtime.system import System
from dspex_agents.supervision.registry import Criterion, Query, Registration
from dspex_ray.cli.agents.options import AgentName, SystemName
from dspex_ray.cli.agents.shown import show
from dspex_ray.cli.agents.systems import agent_known, chosen_system, unknown_agent
from dspex_ray.cli.agents.tree_view import coloured, place
from dspex_ray.cli.options import Debug, Json, RunningAddress
from dspex_ray.cli.output import out, print_json


def inspect(
    context: typer.Context,
    agent: AgentName,
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all that is known of one agent: figures, place, what it can do, its own details."""
    with chosen_system(context, system, address) as found:
        node, supervisors = find_agent(found.tree(), agent)
        registration = _registration(found, agent)
    if json:
        print_json(agent_json(node, supervisors, registration))
    else:
        show(agent_table(node, supervisors, registration))


def mailbox(
    context: typer.Context,
    agent: AgentName,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most messages to show.")] = 100,
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the messages that wait at an agent, next first."""
    with chosen_system(context, system, address) as found, agent_known(found, agent):
        waiting = found.mailbox(agent, limit)
    if json:
        print_json({"agent": agent, "waiting": [asdict(message) for message in waiting]})
        return
    if not waiting:
        out.print(f"No message waits at {agent}.")
        return
    table = Table("id", "from", "priority", "not before", "deadline", "message")
    for message in waiting:
        times = (moment(message.not_before), moment(message.deadline_at))
        table.add_row(*map(Text, (message.id, message.sender, message.priority, *times, message.preview)))
    show(table)


def find_agent(top: TreeNode, name: str) -> tuple[TreeNode, tuple[str, ...]]:
    """Return the agent's node and the ids of the supervisors above it, the top first. Raises UnknownNameError."""
    waiting: list[tuple[TreeNode, tuple[str, ...]]] = [(top, ())]
    while waiting:
        node, above = waiting.pop()
        if node.kind == "agent" and node.id == name:
            return node, above
        waiting += ((child, (*above, node.id)) for child in node.children)
    raise unknown_agent(name, top)


def agent_json(node: TreeNode, supervisors: tuple[str, ...], registration: Registration | None) -> dict[str, Any]:
    """Return what is known of an agent as JSON values."""
    return {
        "agent": node.id,
        "status": node.status,
        "supervisors": list(supervisors),
        "restarts": node.restarts,
        "last_reason": node.last_reason,
        "node": node.node,
        "host": node.host,
        "pid": node.pid,
        "memory_bytes": node.memory_bytes,
        "figures": None if node.agent is None else asdict(node.agent),
        "registration": None
        if registration is None
        else asdict(registration) | {"capabilities": sorted(registration.capabilities)},
    }


def agent_table(node: TreeNode, supervisors: tuple[str, ...], registration: Registration | None) -> Table:
    """Return what is known of an agent as lines of name and value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_row("agent", Text(node.id, style="bold"))
    table.add_row("status", coloured(node.status))
    table.add_row("supervisors", " > ".join(supervisors))
    for name, value in (*_life(node), *_known(registration)):
        table.add_row(name, Text(value))
    return table


def moment(seconds: float | None) -> str:
    """Return seconds since the epoch as a moment in UTC, or a dash."""
    return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _registration(system: System, agent: str) -> Registration | None:
    return next(iter(system.find(Query(where=(Criterion("name", "eq", agent),), limit=1))), None)


def _life(node: TreeNode) -> Iterable[tuple[str, str]]:
    yield "restarts", f"{node.restarts}" + (f", last end: {node.last_reason}" if node.last_reason else "")
    told = node.agent
    if told is None:
        yield "figures", "none: it is not running, or its process did not answer in time"
        return
    yield "class", told.kind
    yield "lives in", place(node)
    yield "epoch", f"{told.epoch}, since {moment(told.started_at)} UTC"
    if told.paused:
        yield "paused", told.paused
    yield "mailbox", f"{told.mailbox} of {told.mailbox_size} messages wait"
    yield "in flight", f"{told.in_flight} of {told.concurrency}, the oldest without progress for {told.oldest_s:.1f} s"
    yield "messages", f"{told.handled} handled, {told.failed} failed, {told.rejected} rejected"
    yield "time", f"busy {told.busy_s:.1f} s, idle for {told.idle_s:.1f} s"
    for name, value in told.details.items():
        yield f"details.{name}", json_text.dumps(value, default=str)


def _known(registration: Registration | None) -> Iterable[tuple[str, str]]:
    if registration is None:
        yield "registration", "none"
        return
    yield "capabilities", ", ".join(sorted(registration.capabilities)) or "-"
    yield "health", f"{registration.health}, load {registration.load:.2f}"
    if registration.resources:
        yield "resources", json_text.dumps(dict(registration.resources))
    if registration.partition:
        yield "partition", registration.partition
    for name, value in registration.metadata.items():
        yield f"metadata.{name}", json_text.dumps(value, default=str)
