"""Options of `dspex experiment`, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="The experiment.", metavar="NAME")]
