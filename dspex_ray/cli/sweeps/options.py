"""Options that the commands of `dspex sweeps` share."""

from __future__ import annotations

from typing import Annotated

import typer

RunId = Annotated[str, typer.Argument(help="The run's id, as `dspex sweeps list` shows it.", metavar="RUN")]
RunIds = Annotated[list[str], typer.Argument(help="The runs' ids.", metavar="RUN...")]
MeasureName = Annotated[
    str | None, typer.Option("--measure", help="Which measure counts; by default the run's first objective.")
]
