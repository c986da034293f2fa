"""`dspex versions ...`: look at the versions that optimisation made, and say by labels which one is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from dspex_ray.cli.versions.labelling import label, rollback
from dspex_ray.cli.versions.looking import diff, list_, show
from dspex_ray.cli.versions.promoting import promote
from dspex_ray.cli.versions.watching import watch

COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_,
    "show": show,
    "diff": diff,
    "promote": promote,
    "rollback": rollback,
    "label": label,
    "watch": watch,
}


class _ListsByItself(TyperGroup):
    """A group that lists when no command is named: `dspex versions`, `dspex versions shop:Route`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before what names no command."""
        named = args and (args[0] in self.commands or args[0] == "--help" or args[0].isidentifier())
        parsed: list[str] = super().parse_args(ctx, args if named else ["list", *args])
        return parsed


versions = typer.Typer(
    cls=_ListsByItself, help="Look at versions of programs, compare them, promote and roll back. Alone it lists them."
)
for _name, _command in COMMANDS.items():
    versions.command(_name)(_command)
