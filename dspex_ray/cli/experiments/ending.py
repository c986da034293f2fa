"""`dspex experiment stop | promote`."""

from __future__ import annotations

from typing import Annotated

import typer

from dspex_agents.clock import SystemClock
from dspex_ray.cli.experiments.options import Name
from dspex_ray.cli.options import By, Debug, Json, StoreUrl, who
from dspex_ray.cli.output import out, print_json
from dspex_ray.experiments.running import Experiments
from dspex_ray.store import open_store


def stop(name: Name, by: By = None, store: StoreUrl = None, json: Json = False, debug: Debug = False) -> None:
    """End an experiment; the requests stay shared as they are."""
    one = Experiments(open_store(store)).stop(name, by=who(by), now=SystemClock().now())
    if json:
        print_json(one.to_json())
        return
    out.print(f"Stopped {name}; the traffic of {one.endpoint} stays as it is.", markup=False)


def promote(
    name: Name,
    arm: Annotated[str | None, typer.Option(help="Which version; by default the one that is surely better.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Though shares are off, or it is surely worse.")] = False,
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Send everything to one version of an experiment, and end it."""
    experiments = Experiments(open_store(store))
    one = experiments.promote(name, arm, force=force, by=who(by), now=SystemClock().now())
    if json:
        print_json(one.to_json())
        return
    out.print(f"Promoted {one.promoted}: it gets all requests of {one.endpoint}.", markup=False)
