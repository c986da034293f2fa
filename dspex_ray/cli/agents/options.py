"""Options that the commands of `dspex agents` share."""

from __future__ import annotations

from typing import Annotated

import typer

AgentName = Annotated[str, typer.Argument(help="The agent's name.", metavar="AGENT")]
SystemName = Annotated[
    str | None, typer.Option("--system", help="The system's name; not needed when only one runs.", metavar="SYSTEM")
]
