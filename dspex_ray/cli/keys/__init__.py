"""`dspex keys ...`: API keys of served programs."""

from __future__ import annotations

import typer

from dspex_ray.cli.keys.commands import create, list_, revoke, rotate
from dspex_ray.cli.keys.tenants import limit

keys = typer.Typer(help="Make API keys of served programs, rotate, revoke and limit them.", no_args_is_help=True)
COMMANDS = {"create": create, "list": list_, "rotate": rotate, "revoke": revoke, "limit": limit}
keys.command("create")(create)
keys.command("list")(list_)
keys.command("rotate")(rotate)
keys.command("revoke")(revoke)
keys.command("limit")(limit)
