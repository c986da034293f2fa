"""`dspex agents list` and `dspex agents tree`: which systems run, and what each consists of."""

from __future__ import annotations

import threading
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import RuntimeUnavailableError, SystemStoppedError
from dspex_agents.runtime.system import System
from dspex_ray.cli.agents.shown import show
from dspex_ray.cli.agents.systems import Systems, chosen_system, running_systems
from dspex_ray.cli.agents.tree_view import coloured, summary, tree_for_people, tree_json
from dspex_ray.cli.agents.waiting import ended_by_signal
from dspex_ray.cli.options import Debug, Json, RunningAddress
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError

_LIST_TIMEOUT_S = 2.0
_PATIENCE_S = 30.0


def list_systems(
    context: typer.Context,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the systems of agents that run on the cluster."""
    with running_systems(context, address) as systems:
        rows = [_row(systems, name) for name in sorted(systems.names())]
    if json:
        print_json({"systems": rows})
        return
    if not rows:
        out.print("No system of agents runs on this cluster.")
        return
    table = Table("system", "status", "agents", "restarts")
    for row in rows:
        table.add_row(row["name"], coloured(row["status"]), row["agents"], str(row["restarts"]))
    show(table)


def _row(systems: Systems, name: str) -> dict[str, Any]:
    try:
        top = systems.find(name).tree(_LIST_TIMEOUT_S)
    except (SystemStoppedError, RuntimeUnavailableError, TimeoutError):
        return {"name": name, "status": "silent", "agents": "", "restarts": ""}
    agents = top.agents()
    return {
        "name": name,
        "status": top.status,
        "agents": summary(agents),
        "restarts": sum(node.restarts for node in agents),
    }


def tree(
    context: typer.Context,
    system: Annotated[str | None, typer.Argument(help="The system's name; not needed when only one runs.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks with --watch.")] = 1.0,
    limit: Annotated[
        int, typer.Option(min=1, help="Most children of one supervisor to show; the others are summed up by status.")
    ] = 50,
    address: RunningAddress = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the tree of a system: states, restarts, mailboxes, processes. With --json all of it."""
    if watch and json:
        raise UsageError("--json prints one object, so it cannot be used with --watch.")
    with chosen_system(context, system, address) as found:
        if json:
            print_json({"system": found.name, "tree": tree_json(found.tree())})
        elif watch:
            with ended_by_signal() as ended:
                show_until(ended, Lookout(found, limit), interval)
        else:
            show(tree_for_people(found.name, found.tree(), limit))


class Lookout:
    """Looks at a tree again and again; while a system is rebuilt, for 30 seconds at most, the last look stands."""

    def __init__(self, system: System, limit: int, clock: Clock | None = None) -> None:
        self._system, self._limit, self._clock = system, limit, clock or SystemClock()
        self._last: RenderableType | None = None
        self._at = 0.0

    def look(self) -> RenderableType:
        """Return what is to be shown now. Raises SystemStoppedError or TimeoutError when nothing new came for long."""
        try:
            self._last = tree_for_people(self._system.name, self._system.tree(), self._limit)
        except (SystemStoppedError, TimeoutError) as error:
            age_s = self._clock.monotonic() - self._at
            if self._last is None or age_s > _PATIENCE_S:
                raise
            return Group(self._last, Text(f"{error} This is how it was {age_s:.0f} s ago.", style="yellow"))
        self._at = self._clock.monotonic()
        return self._last


def show_until(ended: threading.Event, lookout: Lookout, interval_s: float) -> None:
    """Show each look in the place of the one before, or, off a terminal, below it."""
    if not out.is_terminal:
        while not ended.is_set():
            show(lookout.look())
            ended.wait(interval_s)
        return
    with Live(console=out, auto_refresh=False) as live:
        while not ended.is_set():
            live.update(lookout.look(), refresh=True)
            ended.wait(interval_s)
