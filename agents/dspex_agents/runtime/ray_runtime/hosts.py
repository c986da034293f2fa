"""Hosts as Ray actors."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

import cloudpickle
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dspex_agents.errors import AgentFailedError, ClusterTooSmallError
from dspex_agents.messaging.message import Envelope, Parcel, Reply
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.runtime.host import Host
from dspex_agents.runtime.port import HostOrder, Port, PortDiedError, PortUnavailableError
from dspex_agents.runtime.ray_runtime.child_archive import ChildArchive
from dspex_agents.runtime.ray_runtime.port import RayPort, RootPort
from dspex_agents.runtime.watchdog import Watchdog
from dspex_agents.supervision.child_spec import AnySpec

CONCURRENT_CALLS = 100_000  # waiting messages are bounded by the mailboxes, not by Ray
_ATTACH_WITHIN_S = 60.0
_LAST_WORDS_S = 2.0
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


class RayHosts:
    """Makes hosts as detached, named Ray actors: they outlive their root, and end when it is gone for good."""

    def __init__(self, system: str, namespace: str, search_path: Sequence[str], archive: ChildArchive) -> None:
        self._prefix, self._namespace, self._search_path = f"{system}/", namespace, list(search_path)
        self._archive = archive

    async def start_host(self, order: HostOrder) -> Port:
        """Start a host process and return when it has imported what it should and answers."""
        root = RootPort(self._prefix.rstrip("/"), ray.get_runtime_context().current_actor)
        resources = dict(order.resources)
        options: dict[str, Any] = {
            "name": self._prefix + order.id,
            "namespace": self._namespace,
            "lifetime": "detached",
            "num_cpus": resources.pop("CPU", 0),
            "num_gpus": resources.pop("GPU", 0),
            "memory": resources.pop("memory", None),
            "resources": resources,
            "max_restarts": 0,  # our supervisor restarts; two supervisors would fight
            "max_task_retries": 0,  # Ray's retries would replay side effects
            "max_concurrency": CONCURRENT_CALLS,
            "scheduling_strategy": "SPREAD" if order.spread else this_node(),
        }
        handle = ray.remote(_HostActor).options(**options).remote(order.id, root, self._search_path, order.hang_s)
        port = RayPort(self._prefix + order.id, handle)
        try:
            await port.call("attach", order.preload, order.dead_letters, timeout_s=_ATTACH_WITHIN_S)
        except TimeoutError:
            port.kill()
            wanted = ", ".join(f"{name} {amount:g}" for name, amount in order.resources.items()) or "a process"
            raise ClusterTooSmallError(
                f"No node had room ({wanted}) for {order.id!r} within {_ATTACH_WITHIN_S:g} s."
            ) from None
        return port

    def check_room(self, demands: Sequence[Mapping[str, float]]) -> None:
        """See `HostFactory.check_room`; looks at what the nodes have in all, not at what is free now."""
        listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call] # Ray's own
        nodes: list[Mapping[str, float]] = [node["Resources"] for node in listed if node["Alive"]]
        if missing := what_does_not_fit(demands, nodes):
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
        found: dict[str, Port] = {}
        named: list[Any] = ray.util.list_named_actors(all_namespaces=True)  # dicts, with all_namespaces
        for actor in named:
            name = actor["name"]
            if actor["namespace"] != self._namespace or not name.startswith(self._prefix):
                continue
            try:
                found[name.removeprefix(self._prefix)] = RayPort(name, ray.get_actor(name, namespace=self._namespace))
            except ValueError:
                continue  # it died between the listing and the question
        return found


class _HostActor(Host):
    """A host in a Ray worker process of its own. Envelopes and replies cross as plain tuples."""

    def __init__(self, host_id: str, root: Port, search_path: Sequence[str], hang_s: float) -> None:
        extend_search_path(search_path)
        node = ray.get_runtime_context().get_node_id()
        super().__init__(host_id, root, node=node, on_orphaned=_end_process)
        self._hang_s = hang_s
        # a root that dies between making this process and attaching it leaves nobody who could end it
        self._unattached = threading.Timer(_ATTACH_WITHIN_S, _end_process)
        self._unattached.daemon = True
        self._unattached.start()

    async def attach(self, preload: Sequence[str] = (), dead_letters: str | None = None) -> int:
        """See `Host.attach`."""
        self._unattached.cancel()
        pid = await super().attach(preload, dead_letters)
        frames = AgentCell._run.__code__  # noqa: SLF001 - its frame surrounds whatever an agent does
        Watchdog(self._hang_s, time.monotonic, frames, _name_in, self._hung).start()
        return pid

    def _hung(self, agent: str, where: str) -> None:
        """Tell the root whom to blame, and end: a loop that stands still can do neither."""
        with contextlib.suppress(TimeoutError, PortDiedError, PortUnavailableError):
            self._root.call_blocking("host_hung", self.host_id, agent, where, timeout_s=_LAST_WORDS_S)
        _end_process()

    async def deliver_packed(self, fields: list[Any]) -> list[Any]:
        """See `Host.deliver`."""
        return list(await self._deliveries.deliver(Envelope._make(fields)))

    async def accept(self, link_id: str, batch: tuple[tuple[Any, ...], ...]) -> Any:
        """See `Host.accept`."""
        return _sendable(await super().accept(link_id, batch))

    async def replies(self, link_id: str) -> Any:
        """See `Host.replies`."""
        return _sendable(await super().replies(link_id))


def _sendable(parcel: Parcel) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the parcel as plain data. One answer that cannot travel must not hold up all others."""
    return parcel.begun, [r if type(r[1]) in _PLAIN else _checked(r) for r in parcel.replies]


def _checked(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    try:
        cloudpickle.dumps(fields)
    except Exception as error:  # noqa: BLE001 - a stranger's data may break pickling in any way
        kind, text = type(error).__name__, str(error)
        return tuple(Reply(fields[0], error=AgentFailedError(f"The answer cannot travel: {kind}: {text}", kind, text)))
    return fields


def _name_in(frame: FrameType) -> str:
    cell: AgentCell = frame.f_locals["self"]
    return cell.context.name


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


def extend_search_path(entries: Sequence[str]) -> None:
    """Let this process import what the driver can."""
    sys.path.extend(entry for entry in entries if entry not in sys.path)


def _end_process() -> None:
    os._exit(0)  # agents are stopped; Ray's own orderly exit would wait for the root's pending `exits` call for ever


def this_node() -> NodeAffinitySchedulingStrategy:
    """Return a wish for this process's node; any other one will do when it is gone."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
