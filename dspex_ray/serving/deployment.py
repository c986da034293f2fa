"""`deploy`: a program as an autoscaling HTTP endpoint whose model calls are kept in the store."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from dataclasses import dataclass, field

from dspex_agents import (
    AgentSystemError,
    ChildSpec,
    RuntimeUnavailableError,
    SpecError,
    SupervisorSpec,
    System,
    SystemSpec,
)
from dspex_agents.runtime.ray_runtime import connect_cluster, find_ray_system, start_ray_system
from dspex_ray.call_buffer import Row
from dspex_ray.errors import ClusterError
from dspex_ray.ledger_agent import LEDGER, LedgerAgent, RecordCalls
from dspex_ray.parcel import Parcel
from dspex_ray.program import Program
from dspex_ray.serving.address import DEFAULT_HOST, DEFAULT_PORT
from dspex_ray.serving.base import ServingLimits
from dspex_ray.serving.deploy import deploy_program
from dspex_ray.serving.endpoint import Endpoint
from dspex_ray.serving.program_service import pack_program
from dspex_ray.serving.running import serving_status, stop_endpoint
from dspex_ray.store import Store, open_store

UNTUNED = "untuned"
_WRITE_TIMEOUT_S = 10.0


@dataclass(slots=True)
class LedgerSink:
    """Writes a replica's model calls through the cluster's ledger agent; found by name, so it survives restarts."""

    system_name: str
    _system: System | None = field(default=None, init=False, repr=False)

    async def write(self, rows: list[Row]) -> None:
        """Return once the ledger has the rows. Raises RuntimeUnavailableError while there is no ledger."""
        if self._system is None:
            self._system = await asyncio.to_thread(find_ray_system, self.system_name)
        try:
            await self._system.aask(LEDGER, RecordCalls(tuple(rows)), timeout_s=_WRITE_TIMEOUT_S, retry_safe=True)
        except AgentSystemError:
            self._system = None  # another one of this name may run by the next attempt
            raise


@dataclass(frozen=True, slots=True)
class LedgerSinkFactory:
    """Makes the sink inside each replica."""

    system_name: str

    def __call__(self) -> LedgerSink:
        """Return a sink of this replica's own."""
        return LedgerSink(self.system_name)


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
    machine, or a local one started that ends with this process. Raises ConfigurationError for a name, host or port
    that cannot be, and ClusterError when there is no cluster or the program does not start.
    """
    try:
        connect_cluster(address)
    except RuntimeUnavailableError as error:
        raise ClusterError(str(error)) from error
    kept = store or open_store()
    ledger = ensure_ledger(kept)
    endpoint = deploy_program(
        pack_program(program),
        name=name or type(program).__name__.lower(),
        version=version,
        host=host,
        port=port,
        replicas=replicas,
        sink=Parcel.of(LedgerSinkFactory(ledger)),
        limits=limits,
    )
    return dataclasses.replace(endpoint, _stop=lambda served: undeploy(served, kept))


def ensure_ledger(store: Store) -> str:
    """Return the name of the cluster's ledger for this store, started if it does not run. It outlives this process."""
    name = _ledger_name(store)
    try:
        find_ray_system(name)
    except RuntimeUnavailableError:
        ledger = ChildSpec(id=LEDGER, start=LedgerAgent, kwargs={"store": store})
        spec = SystemSpec(name=name, supervisor=SupervisorSpec(id="supervisor", children=(ledger,)))
        try:
            start_ray_system(spec, detached=True)
        except SpecError:
            find_ray_system(name)  # another process was faster
    return name


def undeploy(name: str, store: Store | None = None) -> None:
    """Stop an endpoint; with the last one, the HTTP server and the ledger end too."""
    stop_endpoint(name)
    if not serving_status():
        stop_ledger(store or open_store())


def stop_ledger(store: Store) -> None:
    """Stop the cluster's ledger for this store, once it has written what it was given."""
    try:
        find_ray_system(_ledger_name(store)).stop()
    except RuntimeUnavailableError:
        return  # it never ran, which is as good


def _ledger_name(store: Store) -> str:
    """Return the ledger's name on a cluster; the store's URL may hold a password, so only its hash is in it."""
    return f"dspex-ledger-{hashlib.sha256(store.database.url.encode()).hexdigest()[:12]}"
