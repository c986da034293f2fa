"""`dspex experiment status`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from dspex_ray.cli.audit.cells import plain
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError
from dspex_ray.evaluation_report.writing import require_place, write_text
from dspex_ray.experiments.experiment import Experiment
from dspex_ray.experiments.page import page
from dspex_ray.experiments.running import Experiments, as_json
from dspex_ray.experiments.verdicts import ratio_told, sentences
from dspex_ray.store import open_store
from dspex_ray.terminal import err


def status(
    name: Annotated[str | None, typer.Argument(help="The experiment; without one, all are listed.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write its course to this .html file; it works offline.")] = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what an experiment has found so far. One may look as often as one likes."""
    place = None if plot is None else require_place(plot, (".html", ".htm"))
    experiments = Experiments(open_store(store))
    if name is None:
        if place is not None:
            raise UsageError("--plot draws one experiment; name it.")
        _list(experiments.listed(), json=json)
        return
    found = experiments.status(name)
    told, warned = sentences(found), experiments.warnings(found)
    if place is not None:
        write_text(place, page(found, experiments.course(name), warned))
    if json:
        print_json({**as_json(found, told, warned), **({} if place is None else {"file": str(place)})})
        return
    for one in warned:
        err.print(one, style="yellow", markup=False, soft_wrap=True)
    out.print(f"{name} on {found.experiment.endpoint}, {found.experiment.status}: {ratio_told(found)}.", markup=False)
    for line in told:
        out.print(f"- {line}", markup=False, soft_wrap=True)
    if place is not None:
        out.print(f"Wrote its course to {place}.", markup=False, soft_wrap=True)


def _list(found: list[Experiment], *, json: bool) -> None:
    if json:
        print_json({"experiments": [one.to_json() for one in found]})
        return
    if not found:
        out.print("There has been no experiment. Start one: dspex experiment start --help", markup=False)
        return
    table = Table("name", "endpoint", "arms", "status", "started", "promoted")
    for one in found:
        arms = "\n".join(f"{arm} {100 * weight:g} %" for arm, weight in one.weights.items())
        started = f"{datetime.fromtimestamp(one.started_at, UTC):%Y-%m-%d %H:%M}"
        cells = (one.name, one.endpoint, arms, one.status, started, one.promoted or "-")
        table.add_row(*(plain(cell) for cell in cells))
    out.print(table)
