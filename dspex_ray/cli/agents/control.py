"""`dspex agents pause | resume | stop | restart | kill`: one agent, taken in hand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dspex_agents.agent import AgentStatus
from dspex_ray.cli.agents.inspection import find_agent
from dspex_ray.cli.agents.options import AgentName, SystemName
from dspex_ray.cli.agents.systems import agent_known, chosen_system, unknown_agent
from dspex_ray.cli.options import Debug, Json, RunningAddress
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError


def pause(
    context: typer.Context,
    agent: AgentName,
    reason: Annotated[str, typer.Option(help="Why; shown to whoever looks at the agent.")] = "paused by hand",
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let an agent take no new work; what waits keeps its place."""
    with chosen_system(context, system, address) as found, agent_known(found, agent):
        told = found.pause(agent, reason)
    _report("paused", agent, told, as_json=json)


def resume(
    context: typer.Context,
    agent: AgentName,
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Let a paused agent take work again."""
    with chosen_system(context, system, address) as found, agent_known(found, agent):
        told = found.resume(agent)
    _report("resumed", agent, told, as_json=json)


def stop(
    context: typer.Context,
    agent: AgentName,
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Stop an agent in good order and for good: it is not started again."""
    with chosen_system(context, system, address) as found:
        if not found.stop_child(agent, "stopped by hand"):
            raise unknown_agent(agent, found.tree())
    _report("stopped", agent, as_json=json)


def restart(
    context: typer.Context,
    agent: AgentName,
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Stop an agent in good order and start it again; that counts as no failure."""
    with chosen_system(context, system, address) as found, agent_known(found, agent):
        found.restart_child(agent)
    _report("restarted", agent, as_json=json)


def kill(
    context: typer.Context,
    agent: AgentName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    system: SystemName = None,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """End an agent at once, with its process if it has one of its own; its supervisor decides what follows."""
    if not yes and (json or not sys.stdin.isatty()):
        raise UsageError("Nobody can be asked whether to kill the agent (--json, or no terminal); add --yes.")
    with chosen_system(context, system, address) as found, agent_known(found, agent):
        if not yes:
            find_agent(found.tree(), agent)  # no question about an agent that is not there
            if not typer.confirm(f"Kill {agent} of system {found.name}? What it has in hand is lost.", err=True):
                out.print("Nothing was killed.")
                return 1
        found.kill_child(agent)
    _report("killed", agent, as_json=json)
    return 0


def _report(done: str, agent: str, told: AgentStatus | None = None, *, as_json: bool) -> None:
    if as_json:
        print_json({done: agent} | ({} if told is None else {"status": told.status, "mailbox": told.mailbox}))
        return
    waiting = "" if told is None else f" {told.mailbox} messages wait."
    out.print(f"{done.capitalize()} {agent}.{waiting}", markup=False)
