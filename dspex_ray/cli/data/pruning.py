"""`dspex data prune`: the end of requests that are old."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from dspex_agents.clock import SystemClock
from dspex_ray.cli.options import Debug, Json, StoreUrl
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError
from dspex_ray.experiments.running import Experiments
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.store import open_store

_DAY_S = 86_400.0


def prune(
    older_than_days: Annotated[float, typer.Option(help="Requests from before so many days go.")],
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove old requests, with the feedback on them; those of running experiments stay."""
    if not (math.isfinite(older_than_days) and older_than_days >= 0):
        raise UsageError(f"--older-than-days is 0 or more, got {older_than_days:g}.")
    opened = open_store(store)
    before = SystemClock().now() - older_than_days * _DAY_S
    gone = RequestStore(opened.database).prune(before, spare=Experiments(opened).running_since())
    if json:
        print_json({"removed": gone})
        return
    out.print(f"Removed {gone} requests.", markup=False)
