"""Options of `dspex experiment`, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="The experiment.", metavar="NAME")]
By = Annotated[str | None, typer.Option(help="Who does it, for the audit record; by default this machine's user.")]
