"""`dspex budget ...`: hard caps on what model calls may take."""

from __future__ import annotations

import typer

from dspex_ray.cli.budget.commands import list_, remove, set_, show

budget = typer.Typer(help="Set hard caps on what model calls may take, and see what is spent.", no_args_is_help=True)
COMMANDS = {"set": set_, "list": list_, "show": show, "remove": remove}
budget.command("set")(set_)
budget.command("list")(list_)
budget.command("show")(show)
budget.command("remove")(remove)
