"""`dspex audit ...`: the record of management actions."""

from __future__ import annotations

import typer

from dspex_ray.cli.audit.commands import list_, verify

audit = typer.Typer(help="Read the record of who changed what, and check that it is whole.", no_args_is_help=True)
COMMANDS = {"list": list_, "verify": verify}
audit.command("list")(list_)
audit.command("verify")(verify)
