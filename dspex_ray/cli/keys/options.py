"""Options of `dspex keys`, spelled once."""

from __future__ import annotations

from typing import Annotated

import typer

KeyId = Annotated[str, typer.Argument(help="The key's id, the 12 digits after `dspex_`.", metavar="ID")]
Rate = Annotated[float | None, typer.Option("--requests-per-second", help="At most so many for ever.")]
Burst = Annotated[int | None, typer.Option(help="So many at once after a pause; by default a second's worth.")]
Concurrent = Annotated[int | None, typer.Option("--concurrent-requests", help="At most so many at a time.")]
UsdPerDay = Annotated[float | None, typer.Option("--usd-per-day", help="At most so many US dollars a UTC day.")]
