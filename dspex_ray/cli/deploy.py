"""`dspex deploy` and `dspex stop`: a program over HTTP."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from dspex_ray.cli.cluster import cluster
from dspex_ray.cli.options import Address, Debug, Json, Model, ProgramPath, RunningAddress, StoreUrl, WhichVersion
from dspex_ray.cli.output import out, print_json
from dspex_ray.cli.programs import instance
from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.lm.resolve import resolve_lm
from dspex_ray.serving.address import check_name, check_replicas, loopback
from dspex_ray.store import open_store
from dspex_ray.terminal import err


def deploy(
    program: ProgramPath,
    version: WhichVersion = None,
    name: Annotated[str | None, typer.Option(help="The endpoint's name; default: the class's, in lower case.")] = None,
    host: Annotated[str, typer.Option(help="Loopback addresses only: there is no authentication yet.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP server; 0 takes a free one.")] = 8000,
    replicas: Annotated[str, typer.Option(help="Fewest and most processes, such as 1-4.")] = "1-4",
    lm: Model = None,
    address: Address = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve a program over HTTP.

    On a running cluster the endpoint stays when this command ends; `dspex stop` ends it.
    Without one, a local cluster is started and serves until Ctrl-C.
    """
    kept = open_store(store)
    bounds = replicas_of(replicas)
    loaded, label = instance(program, version, lm, kept)
    name = name or type(loaded).__name__.lower()
    check_name(name)
    check_replicas(bounds)
    loopback(host)
    resolve_lm(loaded.lm_name)
    with cluster(address, may_start=True):
        from dspex_agents.runtime.ray_runtime import started_here  # noqa: PLC0415 - loads ray
        from dspex_ray.serving.deployment import undeploy  # noqa: PLC0415 - loads Ray Serve

        endpoint = loaded.deploy(name=name, version=label, host=host, port=port, replicas=bounds, store=kept)
        stays = not started_here()
        if json:
            print_json({"name": endpoint.name, "url": endpoint.url, "version": label, "detached": stays})
        else:
            out.print(f"Serving version {label} of {program} at [bold]{endpoint.url}[/]")
            out.print(f"Stop it with: dspex stop {endpoint.name}" if stays else "Stop it with Ctrl-C.")
        if not stays:
            _wait_for_signal()
            err.print("Stopping ...", style="dim")
            undeploy(endpoint.name, kept)


def stop(
    name: Annotated[str, typer.Argument(help="The endpoint's name.", metavar="NAME")],
    address: RunningAddress = None,
    store: StoreUrl = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Take an endpoint out of service; the last one takes the HTTP server with it."""
    kept = open_store(store)
    with cluster(address, may_start=False):
        from dspex_ray.serving.deployment import undeploy  # noqa: PLC0415 - loads Ray Serve
        from dspex_ray.serving.running import serving_status  # noqa: PLC0415 - likewise

        names = [entry["name"] for entry in serving_status()]
        if name not in names:
            raise UnknownNameError("endpoint", name, names)
        undeploy(name, kept)
    if json:
        print_json({"stopped": name})
    else:
        out.print(f"Stopped {name}.")


def replicas_of(text: str) -> tuple[int, int]:
    """Return `1-4`, or `2`, as (fewest, most). Raises UsageError for another form."""
    low, dash, high = text.partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        raise UsageError(f"--replicas takes a number or fewest-most, such as 1-4, got {text!r}.")
    return int(low), int(high if dash else low)


def _wait_for_signal() -> None:
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
