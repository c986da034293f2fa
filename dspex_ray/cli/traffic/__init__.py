"""`dspex traffic ...`: which version of an endpoint answers whom."""

from __future__ import annotations

from collections.abc import Callable

import typer

from dspex_ray.cli.traffic.changing import rollback, rule, shadow, split
from dspex_ray.cli.traffic.looking import show
from dspex_ray.cli.traffic.ramping import ramp

COMMANDS: dict[str, Callable[..., None]] = {
    "show": show,
    "split": split,
    "rule": rule,
    "shadow": shadow,
    "ramp": ramp,
    "rollback": rollback,
}

traffic = typer.Typer(
    no_args_is_help=True,
    help="Share an endpoint's requests among versions of its program; replicas follow within a second.",
)
for _name, _command in COMMANDS.items():
    traffic.command(_name)(_command)
