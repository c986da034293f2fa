"""`dspex sweeps plot`: charts of runs, as HTML that works offline or as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.sweeps.options import MeasureName, RunIds
from dspex_ray.cli.sweeps.reading import checked_measure, look, opened
from dspex_ray.sweep_plots import KINDS, PlotRequest, check_target
from dspex_ray.sweep_plots import plot as draw
from dspex_ray.terminal import err


def plot(
    runs: RunIds,
    output: Annotated[Path, typer.Option("--out", help="The file to write: .html (works offline) or .png.")],
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}, or all.")] = "all",
    measure: MeasureName = None,
    x: Annotated[str | None, typer.Option(help="Of a Pareto chart: the measure to the right.")] = None,
    y: Annotated[str | None, typer.Option(help="Of a Pareto chart: the measure upwards.")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw the history, the Pareto front, the importance of variables and parallel coordinates of runs."""
    check_target(kind, output)
    kept = opened(store)
    seen = [look(kept, run) for run in dict.fromkeys(runs)]
    for one in seen:
        for name in (measure, x, y):
            checked_measure(one, name)
    made = draw(PlotRequest(tuple(one.run for one in seen), measure, x, y), kind, output)
    if json:
        print_json({"file": str(made.path), "kinds": list(made.kinds), "left_out": dict(made.left_out)})
        return
    for name, why in made.left_out.items():
        err.print(f"Without {name}: {why}", style="yellow", markup=False, soft_wrap=True)
    out.print(f"Wrote {', '.join(made.kinds)} to {made.path}.", markup=False, soft_wrap=True)
