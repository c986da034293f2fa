"""`dspex experiment start`."""

from __future__ import annotations

from typing import Annotated

import typer

from dspex_agents.clock import SystemClock
from dspex_ray.cli.experiments.options import Name
from dspex_ray.cli.options import By, Debug, Json, StoreUrl, who
from dspex_ray.cli.output import out, print_json
from dspex_ray.errors import UsageError
from dspex_ray.experiments.experiment import Experiment, read_weights
from dspex_ray.experiments.metrics import METRICS
from dspex_ray.experiments.running import Experiments
from dspex_ray.requests_kept.store import RequestStore
from dspex_ray.store import open_store
from dspex_ray.terminal import err

_UNITS = ("user", "request")


def start(
    name: Name,
    endpoint: Annotated[str, typer.Option(help="The endpoint whose requests are shared.")],
    arms: Annotated[str, typer.Option(help="Versions and their shares, 3=0.5,4=0.5; the first is the base.")],
    metrics: Annotated[str, typer.Option(help="What they are compared by; the first decides.")] = ",".join(METRICS),
    alpha: Annotated[float, typer.Option(help="The chance that anything said of it is ever wrong.")] = 0.05,
    unit: Annotated[str, typer.Option(help="user, or request where no request names a user.")] = "user",
    sticky_header: Annotated[str | None, typer.Option(help="The header that says who asks, if no token does.")] = None,
    by: By = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Share an endpoint's requests among versions from now on, and compare what comes of them."""
    if unit not in _UNITS:
        raise UsageError(f"--unit is user or request, got {unit!r}.")
    asked = Experiment(
        name=name,
        endpoint=endpoint,
        weights=read_weights(arms),
        metrics=tuple(one.strip() for one in metrics.split(",")),
        alpha=alpha,
        by_request=unit == "request",
    )
    header = None if sticky_header is None else sticky_header.lower()
    opened = open_store(store)
    one = Experiments(opened).start(asked, by=who(by), now=SystemClock().now(), sticky_header=header)
    if endpoint not in RequestStore(opened.database).endpoints():
        err.print(
            f"No request of {endpoint} is recorded in this store, and endpoints do not record them yet: its traffic is "
            f"shared from now on, but {name} has no data until they are recorded.",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    if json:
        print_json(one.to_json())
        return
    shares = ", ".join(f"{arm} {100 * weight:g} %" for arm, weight in one.weights.items())
    out.print(f"Started {name} on {endpoint}: {shares}.\nLook at it: dspex experiment status {name}", markup=False)
