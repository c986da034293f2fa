"""`dspex agents ...`: look at running systems of agents, and take single agents in hand."""

from __future__ import annotations

from collections.abc import Callable

import typer

from dspex_ray.cli.agents.control import kill, pause, restart, resume, stop
from dspex_ray.cli.agents.figures import metrics
from dspex_ray.cli.agents.inspection import inspect, mailbox
from dspex_ray.cli.agents.letters import dead_letters
from dspex_ray.cli.agents.tree import list_systems, tree

COMMANDS: dict[str, Callable[..., int | None]] = {
    "list": list_systems,
    "tree": tree,
    "inspect": inspect,
    "pause": pause,
    "resume": resume,
    "stop": stop,
    "restart": restart,
    "kill": kill,
    "mailbox": mailbox,
    "dead-letters": dead_letters,
    "metrics": metrics,
}

agents = typer.Typer(
    help="Look at running systems of agents, and take single agents in hand.",
    no_args_is_help=True,
    add_completion=False,
)
for name, command in COMMANDS.items():
    agents.command(name)(command)
