"""`dspex sweeps ...`: look at optimisations in the store, and take running ones in hand."""

from __future__ import annotations

from collections.abc import Callable

import typer

from dspex_ray.cli.sweeps.compare import compare
from dspex_ray.cli.sweeps.control import cancel, extend, pause, resume
from dspex_ray.cli.sweeps.listing import list_sweeps
from dspex_ray.cli.sweeps.plotting import plot
from dspex_ray.cli.sweeps.report import report
from dspex_ray.cli.sweeps.show import show
from dspex_ray.cli.sweeps.watch import watch

COMMANDS: dict[str, Callable[..., int | None]] = {
    "list": list_sweeps,
    "show": show,
    "watch": watch,
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "extend": extend,
    "compare": compare,
    "plot": plot,
    "report": report,
}

sweeps = typer.Typer(
    help="Look at optimisations in the store, and take running ones in hand.",
    no_args_is_help=True,
    add_completion=False,
)
for name, command in COMMANDS.items():
    sweeps.command(name)(command)
