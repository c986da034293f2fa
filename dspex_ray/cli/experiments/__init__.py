"""`dspex experiment ...`: compare live versions of an endpoint."""

from __future__ import annotations

import typer

from dspex_ray.cli.experiments.ending import promote, stop
from dspex_ray.cli.experiments.looking import status
from dspex_ray.cli.experiments.starting import start

experiment = typer.Typer(
    help="Compare live versions of an endpoint, with statistics that hold however often one looks.",
    no_args_is_help=True,
)
COMMANDS = {"start": start, "status": status, "stop": stop, "promote": promote}
experiment.command("start")(start)
experiment.command("status")(status)
experiment.command("stop")(stop)
experiment.command("promote")(promote)
