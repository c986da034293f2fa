"""`dspex cache ...`: look at the replies kept on disk, and remove some or all."""

from __future__ import annotations

import typer

from dspex_ray.cli.cache.commands import clear, prune, show

cache = typer.Typer(help="Look at the replies kept on disk, and remove some or all.", no_args_is_help=True)
COMMANDS = {each.__name__: each for each in (show, prune, clear)}
for each in COMMANDS.values():
    cache.command()(each)
