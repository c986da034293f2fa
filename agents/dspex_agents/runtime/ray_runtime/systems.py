"""Systems on the connected cluster: the root as a named actor; starting and finding them."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from typing import Any

import cloudpickle
import ray
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put

from dspex_agents.errors import RuntimeUnavailableError, SpecError
from dspex_agents.runtime.ray_runtime.cluster import NAMESPACE
from dspex_agents.runtime.ray_runtime.host_actor import extend_search_path
from dspex_agents.runtime.ray_runtime.hosts import RayHosts
from dspex_agents.runtime.ray_runtime.pickling import why_unpicklable
from dspex_agents.runtime.ray_runtime.port import RootPort
from dspex_agents.runtime.ray_runtime.sealing import sealed
from dspex_agents.runtime.ray_runtime.warm_pool import ANY_MEMORY, CONCURRENT_CALLS, search_path, this_node
from dspex_agents.runtime.system import System
from dspex_agents.supervision.root import ROOT_METHODS, SystemRoot
from dspex_agents.supervision.system_spec import SystemSpec


class _RootActor:
    """The root in a Ray worker process. Ray restarts it; it then adopts the hosts that live on."""

    def __init__(self, name: str, namespace: str, path: Sequence[str]) -> None:
        extend_search_path(path)
        self._key = _spec_key(name, namespace)
        system: SystemSpec = cloudpickle.loads(_internal_kv_get(self._key))
        self._hosts = RayHosts(system.name, namespace, path, self._key.decode())
        self._root = SystemRoot(system, self._hosts)
        self._reborn = bool(ray.get_runtime_context().was_current_actor_reconstructed)
        if not self._reborn:
            self._hosts.clear()  # a system of this name may have died here without being stopped
        self._recovery: asyncio.Task[None] | None = None

    async def invoke(self, method: str, *args: Any) -> Any:
        """Call a method of the root, after its recovery if it was restarted."""
        if method not in ROOT_METHODS:
            raise AttributeError(f"a root has no method {method!r} to call from outside")
        if self._reborn:
            if self._recovery is None:
                self._recovery = asyncio.get_running_loop().create_task(self._root.recover())
            await asyncio.shield(self._recovery)
        result = await getattr(self._root, method)(*args)
        if method == "stop":
            self._hosts.clear()
            _internal_kv_del(self._key)
        return result


def start_ray_system(spec: SystemSpec, *, namespace: str = NAMESPACE, detached: bool = False) -> System:
    """Start the system on the connected cluster and return when every agent is up.

    A `detached` system outlives this process until it is stopped by name; any other ends with its driver. Raises
    SpecError when the name is taken or the spec does not pickle, and what kept an agent from starting.
    """
    path = search_path()
    try:
        packed = cloudpickle.dumps(sealed(spec))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        told = why_unpicklable(spec.supervisor) or error
        raise SpecError(f"System {spec.name!r} cannot travel to another process: {told}.") from error
    options: dict[str, Any] = {
        "name": spec.name,
        "namespace": namespace,
        "lifetime": "detached" if detached else None,
        "num_cpus": 0,
        "memory": ANY_MEMORY,
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": CONCURRENT_CALLS,
        "scheduling_strategy": this_node(),
    }
    if _is_taken(spec.name, namespace):
        raise SpecError(f"A system named {spec.name!r} runs already; stop it or choose another name.")
    # not a constructor argument: large ones live in the driver's object store and would die with the driver
    _internal_kv_put(_spec_key(spec.name, namespace), packed, overwrite=True)
    try:
        handle = ray.remote(_RootActor).options(**options).remote(spec.name, namespace, path)
    except ValueError as error:
        raise SpecError(f"A system named {spec.name!r} runs already; stop it or choose another name.") from error
    root = RootPort(spec.name, handle)
    try:
        root.call_blocking("start")
    except BaseException:
        root.kill()
        raise
    return System(spec.name, root, runtime="ray")


def _spec_key(name: str, namespace: str) -> bytes:
    return f"dspex/system/{namespace}/{name}".encode()


def _is_taken(name: str, namespace: str) -> bool:
    try:
        ray.get_actor(name, namespace=namespace)
    except ValueError:
        return False
    return True


def ray_systems(namespace: str = NAMESPACE) -> list[str]:
    """Return the names of the systems that run in the namespace, in order: their roots, not `system/host` processes."""
    named: list[Any] = ray.util.list_named_actors(all_namespaces=True)  # dicts, with all_namespaces
    return sorted(a["name"] for a in named if a["namespace"] == namespace and "/" not in a["name"])


def find_ray_system(name: str, *, namespace: str = NAMESPACE) -> System:
    """Return a handle on a running system. Raises RuntimeUnavailableError when there is none of that name."""
    try:
        handle = ray.get_actor(name, namespace=namespace)
    except ValueError as error:
        raise RuntimeUnavailableError(f"No system named {name!r} runs in namespace {namespace!r}.") from error
    return System(name, RootPort(name, handle), runtime="ray")
