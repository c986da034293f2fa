"""`dspex sweeps report`: what a run has learnt, as one HTML file that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.sweeps.options import RunId
from dspex_ray.learning_report.report import write_report
from dspex_ray.store import open_store


def report(
    run: RunId,
    output: Annotated[Path, typer.Option("--out", help="The .html file to write; it works offline.")],
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write what a run has learnt, and at what cost: scores against calls and money, changes, trials, rows."""
    place = write_report(open_store(store), run, output)
    if json:
        print_json({"run_id": run, "file": str(place)})
        return
    out.print(f"Wrote the report of {run} to {place}.", markup=False, soft_wrap=True)
