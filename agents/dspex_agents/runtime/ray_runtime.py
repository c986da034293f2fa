"""The Ray runtime: the root is a named actor, every host another one. The only module here that imports ray."""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import ray
from ray._private.services import find_gcs_addresses  # noqa: TID251 - Ray offers no public way to find its clusters
from ray._private.utils import read_ray_address  # noqa: TID251 - likewise
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dspex_agents.errors import RuntimeUnavailableError, SpecError
from dspex_agents.interrupts import interrupts_held
from dspex_agents.messaging.message import Reply, pack_envelope, unpack_envelope
from dspex_agents.runtime.cluster_probe import why_silent
from dspex_agents.runtime.host import Host
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError
from dspex_agents.runtime.system import System
from dspex_agents.settings import Settings, apply_environment
from dspex_agents.supervision.root import SystemRoot, SystemSpec

NAMESPACE = "dspex"
_LOCAL = "local"
_OBJECT_STORE_BYTES = 200 * 1024 * 1024  # messages are small; Ray's own default is 30 % of the machine
_CONCURRENT_CALLS = 100_000  # waiting messages are bounded by the mailboxes, not by Ray
_REVIVAL_PAUSE_S = 0.05
_ATTACH_WITHIN_S = 60.0
_INIT_OPTIONS: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": "ERROR"}
_ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` Ray would rebuild the environment in every worker
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the future default; silences a warning in each worker
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine unasked
}


class RayPort:
    """A port to a Ray actor. Pickles, so that hosts can call the root and each other."""

    def __init__(self, address: str, handle: Any) -> None:
        self._address, self._handle = address, handle

    @property
    def address(self) -> str:
        """The actor's name."""
        return self._address

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call the actor and await the result."""
        try:
            reference = self._send(method, args)
            result = await (reference if timeout_s is None else asyncio.wait_for(reference, timeout_s))
            return _received(method, result)
        except RayTaskError as error:
            raise _cause(error) from None
        except ActorDiedError as error:
            raise PortDiedError(f"{self._address}: {_first_line(error)}") from None
        except (ActorUnavailableError, RayActorError) as error:
            await asyncio.sleep(_REVIVAL_PAUSE_S)  # whoever asks again at once would spin
            raise PortUnavailableError(f"{self._address}: {_first_line(error)}") from None

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call the actor and block this thread until the result is there."""
        try:
            return _received(method, ray.get(self._send(method, args), timeout=timeout_s))
        except GetTimeoutError:
            raise TimeoutError(f"{self._address}.{method} did not answer within {timeout_s} s") from None
        except RayTaskError as error:
            raise _cause(error) from None
        except ActorDiedError as error:
            raise PortDiedError(f"{self._address}: {_first_line(error)}") from None
        except (ActorUnavailableError, RayActorError) as error:
            time.sleep(_REVIVAL_PAUSE_S)
            raise PortUnavailableError(f"{self._address}: {_first_line(error)}") from None

    def _send(self, method: str, args: tuple[Any, ...]) -> Any:
        if method == "deliver":
            return self._handle.deliver_packed.remote([pack_envelope(envelope) for envelope in args[0]])
        return getattr(self._handle, method).remote(*args)

    def kill(self) -> None:
        """End the actor's process at once; Ray does not restart it."""
        ray.kill(self._handle, no_restart=True)


def _received(method: str, result: Any) -> Any:
    return [Reply(*fields) for fields in result] if method == "deliver" else result


def _cause(error: RayTaskError) -> Exception:
    cause = error.cause
    return cause if isinstance(cause, Exception) else error


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


class RayHosts:
    """Makes hosts as detached, named Ray actors: they outlive their root, and end when it is gone for good."""

    def __init__(self, system: str, namespace: str, search_path: Sequence[str]) -> None:
        self._prefix, self._namespace, self._search_path = f"{system}/", namespace, list(search_path)

    async def start_host(self, host_id: str, preload: tuple[str, ...]) -> Port:
        """Start a host process and return when it has imported `preload` and answers."""
        root = RayPort(self._prefix.rstrip("/"), ray.get_runtime_context().current_actor)
        options: dict[str, Any] = {
            "name": self._prefix + host_id,
            "namespace": self._namespace,
            "lifetime": "detached",
            "num_cpus": 0,
            "max_restarts": 0,  # our supervisor restarts; two supervisors would fight
            "max_task_retries": 0,  # Ray's retries would replay side effects
            "max_concurrency": _CONCURRENT_CALLS,
            # shared agents (coordinator, ledger) stay by the root, where the store is; workers go where there is room
            "scheduling_strategy": "SPREAD" if host_id.startswith(("own:", "spare")) else _this_node(),
        }
        handle = ray.remote(_HostActor).options(**options).remote(host_id, root, self._search_path)
        port = RayPort(self._prefix + host_id, handle)
        await port.call("attach", preload)
        return port

    async def living_hosts(self) -> dict[str, Port]:
        """Return the hosts of this system that still answer."""
        found: dict[str, Port] = {}
        named: list[Any] = ray.util.list_named_actors(all_namespaces=True)  # dicts, with all_namespaces
        for actor in named:
            name = actor["name"]
            if actor["namespace"] != self._namespace or not name.startswith(self._prefix):
                continue
            try:
                port = RayPort(name, ray.get_actor(name, namespace=self._namespace))
                await port.call("describe", timeout_s=5.0)
            except (ValueError, PortDiedError, PortUnavailableError, TimeoutError):
                continue  # it died between the listing and the question
            found[name.removeprefix(self._prefix)] = port
        return found


class _HostActor(Host):
    """A host in a Ray worker process of its own. Envelopes and replies cross as plain tuples."""

    def __init__(self, host_id: str, root: Port, search_path: Sequence[str]) -> None:
        _extend_search_path(search_path)
        super().__init__(host_id, root, on_orphaned=_end_process)
        # a root that dies between making this process and attaching it leaves nobody who could end it
        self._unattached = threading.Timer(_ATTACH_WITHIN_S, _end_process)
        self._unattached.daemon = True
        self._unattached.start()

    async def attach(self, preload: Sequence[str] = ()) -> int:
        """See `Host.attach`."""
        self._unattached.cancel()
        return await super().attach(preload)

    async def deliver_packed(self, batch: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """See `Host.deliver`."""
        replies = await self.deliver([unpack_envelope(fields) for fields in batch])
        return [(reply.id, reply.value, reply.error, reply.stale) for reply in replies]


class _RootActor:
    """The root in a Ray worker process. Ray restarts it; it then adopts the hosts that live on."""

    def __init__(self, name: str, namespace: str, search_path: Sequence[str]) -> None:
        _extend_search_path(search_path)
        system: SystemSpec = cloudpickle.loads(_internal_kv_get(_spec_key(name, namespace)))
        self._root = SystemRoot(system, RayHosts(system.name, namespace, search_path))
        self._key = _spec_key(name, namespace)
        self._reborn = bool(ray.get_runtime_context().was_current_actor_reconstructed)
        self._recovery: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the tree."""
        await self._root.start()

    async def resolve(self, name: str, timeout_s: float, gone_epoch: int | None = None) -> Any:
        """See `SystemRoot.resolve`."""
        await self._recovered()
        return await self._root.resolve(name, timeout_s, gone_epoch)

    async def tree(self) -> Any:
        """See `SystemRoot.tree`."""
        await self._recovered()
        return await self._root.tree()

    async def stop(self) -> None:
        """See `SystemRoot.stop`."""
        await self._recovered()
        await self._root.stop()
        _internal_kv_del(self._key)

    async def wait_closed(self) -> str:
        """See `SystemRoot.wait_closed`."""
        await self._recovered()
        return await self._root.wait_closed()

    async def _recovered(self) -> None:
        if not self._reborn:
            return
        if self._recovery is None:
            self._recovery = asyncio.get_running_loop().create_task(self._root.recover())
        await asyncio.shield(self._recovery)


def _extend_search_path(entries: Sequence[str]) -> None:
    sys.path.extend(entry for entry in entries if entry not in sys.path)


def _end_process() -> None:
    os._exit(0)  # agents are stopped; Ray's own orderly exit would wait for the root's pending `exits` call for ever


class _Connection:
    """Whether the cluster this process is connected to was started by it."""

    started_here = False


def connect_cluster(address: str | None = None, *, num_cpus: int | None = None, join: bool = True) -> str:
    """Join the Ray cluster at `address`, or the one running on this machine, or start one that ends with this process.

    Returns the cluster's address. Does nothing when this process is connected already; with `join=False` a cluster of
    its own is started in any other case. Raises RuntimeUnavailableError when there is none at `address`.
    """
    if ray.is_initialized():
        return _address()
    named = _named_address(address)
    if named != _LOCAL and join:
        try:
            return join_cluster(address)
        except RuntimeUnavailableError:
            if named is not None:
                raise
    apply_environment(_ENVIRONMENT)
    with interrupts_held():  # broken off, Ray leaves processes of the half-started cluster behind
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **_INIT_OPTIONS,
        )
        _Connection.started_here = True
    return _address()


def join_cluster(address: str | None = None) -> str:
    """Join the Ray cluster at `address`, or the one running on this machine; start none.

    Returns the cluster's address. Raises RuntimeUnavailableError when there is none.
    """
    if ray.is_initialized():
        return _address()
    apply_environment(_ENVIRONMENT)
    named = _named_address(address)
    found = _running_clusters() if named is None or named == _LOCAL else [named]
    silent = {at: why_silent(at) for at in found}
    answering = [at for at, reason in silent.items() if reason is None]
    where = "on this machine" if named is None or named == _LOCAL else f"at {named!r}"
    reason = "; ".join(f"{at}: {why}" for at, why in silent.items()) or "none is running"
    if answering:
        try:
            ray.init(address=answering[0], **_INIT_OPTIONS)
        except (ConnectionError, ValueError, RayError) as error:
            reason = f"{answering[0]}: {_first_line(error)}"
        else:
            return _address()
    other = "" if named is None else ", or leave the address out (--address, RAY_ADDRESS) to use a local one"
    raise RuntimeUnavailableError(
        f"No Ray cluster answers {where} ({reason}). Start one with `ray start --head`{other}."
    )


def _named_address(address: str | None) -> str | None:
    """Return the address the user named, in the call or in RAY_ADDRESS; None for `auto` and for none."""
    named = address or Settings.from_env().ray_address
    return None if named == "auto" else named


def _running_clusters() -> list[str]:
    """Return where clusters of this machine may run: the latest of `ray start`, which may be gone, then processes."""
    latest = read_ray_address()
    running = sorted(find_gcs_addresses())  # type: ignore[no-untyped-call] # Ray's own
    return list(dict.fromkeys([*([latest] if latest else []), *running]))


def started_here() -> bool:
    """Say whether this process started the cluster it is connected to, so that it ends with this process."""
    return _Connection.started_here


def disconnect_cluster() -> None:
    """Leave the cluster; one that this process started ends."""
    ray.shutdown()
    _Connection.started_here = False


def _address() -> str:
    return str(ray.get_runtime_context().gcs_address)


def start_ray_system(spec: SystemSpec, *, namespace: str = NAMESPACE, detached: bool = False) -> System:
    """Start the system on the connected cluster and return when every agent is up.

    A `detached` system outlives this process until it is stopped by name; any other ends with its driver. Raises
    SpecError when the name is taken or the spec does not pickle, and what kept an agent from starting.
    """
    search_path = [entry or str(Path.cwd()) for entry in sys.path]
    try:
        packed = cloudpickle.dumps(spec)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise SpecError(f"System {spec.name!r} cannot travel to another process: {error}.") from error
    options: dict[str, Any] = {
        "name": spec.name,
        "namespace": namespace,
        "lifetime": "detached" if detached else None,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": _CONCURRENT_CALLS,
        "scheduling_strategy": _this_node(),
    }
    if _is_taken(spec.name, namespace):
        raise SpecError(f"A system named {spec.name!r} runs already; stop it or choose another name.")
    # not a constructor argument: large ones live in the driver's object store and would die with the driver
    _internal_kv_put(_spec_key(spec.name, namespace), packed, overwrite=True)
    try:
        handle = ray.remote(_RootActor).options(**options).remote(spec.name, namespace, search_path)
    except ValueError as error:
        raise SpecError(f"A system named {spec.name!r} runs already; stop it or choose another name.") from error
    root = RayPort(spec.name, handle)
    try:
        root.call_blocking("start")
    except BaseException:
        root.kill()
        raise
    return System(spec.name, root, runtime="ray")


def _this_node() -> NodeAffinitySchedulingStrategy:
    """Return a wish for this process's node; any other one will do when it is gone."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)


def _spec_key(name: str, namespace: str) -> bytes:
    return f"dspex/system/{namespace}/{name}".encode()


def _is_taken(name: str, namespace: str) -> bool:
    try:
        ray.get_actor(name, namespace=namespace)
    except ValueError:
        return False
    return True


def find_ray_system(name: str, *, namespace: str = NAMESPACE) -> System:
    """Return a handle on a running system. Raises RuntimeUnavailableError when there is none of that name."""
    try:
        handle = ray.get_actor(name, namespace=namespace)
    except ValueError as error:
        raise RuntimeUnavailableError(f"No system named {name!r} runs in namespace {namespace!r}.") from error
    return System(name, RayPort(name, handle), runtime="ray")
