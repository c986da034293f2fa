"""`deploy`: a program as an autoscaling HTTP endpoint whose model calls are kept in the store."""

from __future__ import annotations

import dataclasses

from dspex_agents import RuntimeUnavailableError
from dspex_agents.runtime.ray_runtime import connect_cluster
from dspex_ray.errors import ClusterError
from dspex_ray.parcel import Parcel
from dspex_ray.programs.program import Program
from dspex_ray.serving.address import DEFAULT_HOST, DEFAULT_PORT
from dspex_ray.serving.base import ServingLimits
from dspex_ray.serving.cluster_ledger import (
    LedgerLender,
    LedgerMeterFactory,
    LedgerSinkFactory,
    LedgerTrafficFactory,
    ensure_ledger,
    stop_ledger,
)
from dspex_ray.serving.deploy import deploy_program
from dspex_ray.serving.endpoint import Endpoint
from dspex_ray.serving.program_service import pack_program
from dspex_ray.serving.running import serving_status, stop_endpoint
from dspex_ray.store import Store, open_store
from dspex_ray.tracing.joining import settings_to_send
from dspex_ray.traffic.control import EndpointTraffic

UNTUNED = "untuned"


def deploy(  # noqa: PLR0913 - all keyword-only, each a separate choice of the caller
    program: Program,
    *,
    name: str | None = None,
    version: str = UNTUNED,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    replicas: tuple[int, int] = (1, 4),
    address: str | None = None,
    store: Store | None = None,
    limits: ServingLimits | None = None,
) -> Endpoint:
    """Serve the program at `http://{host}:{port}/{name}` and return when it answers there.

    `name` is by default the class's name in lower case. The cluster at `address` is joined, or the one on this
    machine, or a local one started that ends with this process. `LMLimits` of the program's model, and the
    store's budgets (the endpoint's name being the agent), hold for all replicas together. All requests go to `version`
    once it answers; `Endpoint.split` and its like share them with other versions of the program in the store, and
    `Endpoint.rollback` takes the deployment's plan back. Raises ConfigurationError for a name, host or port that cannot
    be, and ClusterError when there is no cluster or the program does not start.
    """
    try:
        connect_cluster(address)
    except RuntimeUnavailableError as error:
        raise ClusterError(str(error)) from error
    kept = store or open_store()
    ledger = ensure_ledger(kept)
    name = name or type(program).__name__.lower()
    traffic = EndpointTraffic(name, kept)
    endpoint = deploy_program(
        pack_program(program),
        name=name,
        version=version,
        host=host,
        port=port,
        replicas=replicas,
        sink=Parcel.of(LedgerSinkFactory(ledger, settings_to_send())),
        lender=Parcel.of(LedgerLender(ledger)),
        meter=Parcel.of(LedgerMeterFactory(ledger)),
        traffic=Parcel.of(LedgerTrafficFactory(ledger, program.path, traffic.revision)),
        limits=limits,
    )
    traffic.deployed(program.path, version)
    return dataclasses.replace(endpoint, _stop=lambda served: undeploy(served, kept), _traffic=traffic)


def undeploy(name: str, store: Store | None = None) -> None:
    """Stop an endpoint; with the last one, the HTTP server and the ledger end too."""
    stop_endpoint(name)
    if not serving_status():
        stop_ledger(store or open_store())
