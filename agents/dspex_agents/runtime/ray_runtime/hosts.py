"""Hosts as Ray actors."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import ray

from dspex_agents.errors import ClusterTooSmallError
from dspex_agents.runtime.port import HostOrder, Port, PortDiedError, PortUnavailableError
from dspex_agents.runtime.ray_runtime.child_archive import ChildArchive
from dspex_agents.runtime.ray_runtime.host_actor import ATTACH_WITHIN_S, HostActor
from dspex_agents.runtime.ray_runtime.loans import Loans
from dspex_agents.runtime.ray_runtime.port import RayPort, RootPort
from dspex_agents.runtime.ray_runtime.warm_pool import ANY_MEMORY, Terms, actor_options, take_warm, this_node
from dspex_agents.supervision.child_spec import AnySpec

_WARM_WITHIN_S = 10.0
_HOST = ray.remote(HostActor)  # once: each call makes Ray take the whole class apart


class RayHosts:
    """Makes hosts as detached, named Ray actors: they outlive their root, and end when it is gone for good."""

    def __init__(self, system: str, namespace: str, search_path: Sequence[str], key: str) -> None:
        self._prefix, self._namespace, self._search_path = f"{system}/", namespace, tuple(search_path)
        self._archive, self._loans = ChildArchive(key), Loans(key)

    def clear(self) -> None:
        """Keep nothing: the system is new, or stopped."""
        self._archive.clear()
        self._loans.clear()

    async def start_host(self, order: HostOrder) -> Port:
        """Return a host that has imported what it should and answers: one that stood by, or else a new process."""
        handle = ray.get_runtime_context().current_actor
        root = RootPort(self._prefix.rstrip("/"), handle)
        return await self._warm_host(order, root) or await self._new_host(order, root)

    async def _warm_host(self, order: HostOrder, root: Port) -> Port | None:
        if order.resources or (order.spread and len(_living_nodes()) > 1):
            return None  # a pool is on one node
        terms = Terms.here(self._search_path, any_node=order.spread)
        while (found := await take_warm(self._namespace, terms)) is not None:
            name, handle = found
            self._loans.note(order.id, name)  # before it is ours: a restarted root must find it
            try:
                return await self._attached(RayPort(self._prefix + order.id, handle), root, order, _WARM_WITHIN_S)
            except (TimeoutError, PortDiedError, PortUnavailableError):
                self._loans.drop(order.id)  # the next one then
        return None

    async def _new_host(self, order: HostOrder, root: Port) -> Port:
        resources = dict(order.resources)
        options = actor_options(self._prefix + order.id, self._namespace) | {
            "num_cpus": resources.pop("CPU", 0),
            "num_gpus": resources.pop("GPU", 0),
            "memory": resources.pop("memory", ANY_MEMORY) or ANY_MEMORY,
            "resources": resources,
            "scheduling_strategy": "SPREAD" if order.spread else this_node(),
        }
        port = RayPort(self._prefix + order.id, _HOST.options(**options).remote(self._search_path))
        try:
            return await self._attached(port, root, order, ATTACH_WITHIN_S)
        except TimeoutError:
            wanted = ", ".join(f"{name} {amount:g}" for name, amount in order.resources.items()) or "a process"
            raise ClusterTooSmallError(
                f"No node had room ({wanted}) for {order.id!r} within {ATTACH_WITHIN_S:g} s."
            ) from None

    async def _attached(self, port: RayPort, root: Port, order: HostOrder, timeout_s: float) -> Port:
        try:
            await port.call("attach_to", root, order, self._search_path, timeout_s=timeout_s)
        except BaseException:
            port.kill()
            raise
        return port

    def check_room(self, demands: Sequence[Mapping[str, float]]) -> None:
        """See `HostFactory.check_room`; looks at what the nodes have in all, not at what is free now."""
        if missing := what_does_not_fit(demands, [node["Resources"] for node in _living_nodes()]):
            raise ClusterTooSmallError(f"The cluster is too small for the tree: {missing}.")

    def remember(self, children: Mapping[str, tuple[str, AnySpec]]) -> None:
        """See `HostFactory.remember`."""
        self._archive.remember(children)

    def forget(self, ids: Iterable[str]) -> None:
        """See `HostFactory.forget`."""
        self._archive.forget(ids)

    def retire(self, ids: Collection[str]) -> None:
        """See `HostFactory.retire`."""
        self._archive.retire(ids)

    def retired(self) -> set[str]:
        """See `HostFactory.retired`."""
        return self._archive.retired()

    def remembered(self) -> dict[str, tuple[str, AnySpec]]:
        """See `HostFactory.remembered`."""
        return self._archive.load()

    async def living_hosts(self) -> dict[str, Port]:
        """Return the hosts of this system that are not known to be dead."""
        named: list[Any] = ray.util.list_named_actors(all_namespaces=True)  # dicts, with all_namespaces
        names = [actor["name"] for actor in named if actor["namespace"] == self._namespace]
        by_id = {name.removeprefix(self._prefix): name for name in names if name.startswith(self._prefix)}
        found: dict[str, Port] = {}
        for host_id, name in {**by_id, **self._loans.all()}.items():
            with contextlib.suppress(ValueError):  # it died before or meanwhile
                handle = ray.get_actor(name, namespace=self._namespace)
                found[host_id] = RayPort(self._prefix + host_id, handle)
        return found


def _living_nodes() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call] # Ray's own
    return [node for node in listed if node["Alive"]]


def what_does_not_fit(demands: Sequence[Mapping[str, float]], nodes: Sequence[Mapping[str, float]]) -> str:
    """Return what these processes want that no node has, or all nodes together have not; empty when they may fit."""
    for demand in demands:
        if not any(all(node.get(name, 0.0) >= amount for name, amount in demand.items()) for node in nodes):
            wanted = ", ".join(f"{name} {amount:g}" for name, amount in demand.items())
            return f"a process wants {wanted}, and no node has that"
    for name in sorted({name for demand in demands for name in demand}):
        wanted_s, has = sum(d.get(name, 0.0) for d in demands), sum(node.get(name, 0.0) for node in nodes)
        if wanted_s > has:
            return f"{wanted_s:g} {name} wanted in all, {has:g} there"
    return ""
