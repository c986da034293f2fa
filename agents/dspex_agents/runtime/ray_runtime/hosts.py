"""Hosts as Ray actors."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dspex_agents.messaging.message import unpack_envelope
from dspex_agents.runtime.host import Host
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError
from dspex_agents.runtime.ray_runtime.port import RayPort

CONCURRENT_CALLS = 100_000  # waiting messages are bounded by the mailboxes, not by Ray
_ATTACH_WITHIN_S = 60.0


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
            "max_concurrency": CONCURRENT_CALLS,
            # shared agents (coordinator, ledger) stay by the root, where the store is; workers go where there is room
            "scheduling_strategy": "SPREAD" if host_id.startswith(("own:", "spare")) else this_node(),
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
        extend_search_path(search_path)
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


def extend_search_path(entries: Sequence[str]) -> None:
    """Let this process import what the driver can."""
    sys.path.extend(entry for entry in entries if entry not in sys.path)


def _end_process() -> None:
    os._exit(0)  # agents are stopped; Ray's own orderly exit would wait for the root's pending `exits` call for ever


def this_node() -> NodeAffinitySchedulingStrategy:
    """Return a wish for this process's node; any other one will do when it is gone."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
