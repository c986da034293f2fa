"""`dspex data ...`: requests that were kept, as training data, and their end."""

from __future__ import annotations

import typer

from dspex_ray.cli.data.exporting import export
from dspex_ray.cli.data.pruning import prune

data = typer.Typer(help="Make training data of kept requests and feedback; remove old ones.", no_args_is_help=True)
COMMANDS = {"export": export, "prune": prune}
data.command("export")(export)
data.command("prune")(prune)
