"""A pool of host processes that are ready before a system needs them, kept by a detached actor."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dspex_agents.errors import RuntimeUnavailableError, SpecError
from dspex_agents.runtime.port import PortDiedError, PortUnavailableError
from dspex_agents.runtime.ray_runtime.cluster import NAMESPACE
from dspex_agents.runtime.ray_runtime.host_actor import ATTACH_WITHIN_S, HostActor, end_process, extend_search_path
from dspex_agents.runtime.ray_runtime.port import RayPort
from dspex_agents.runtime.ray_runtime.raylet import keep_idle_workers

CONCURRENT_CALLS = 100_000  # waiting messages are bounded by the mailboxes, not by Ray
ANY_MEMORY = 1  # bytes; Ray puts an actor that asks for nothing on any node, whatever its scheduling strategy says
ROLES = (
    "dspex_agents.roles.task_agent",
    "dspex_agents.roles.coordinator_agent",
    "dspex_agents.monitoring.monitor_agent",
)
"""What the hosts of a pool import in any case."""
_PREFIX = "~warm/"  # no system can be named so
_POOL = f"{_PREFIX}pool"
_ANSWER_S = 1.0
_FILL_S = 120.0
_REFILL_AFTER_S = 2.0  # a system that starts takes several, and wants the cores for itself
_LOOK_EVERY_S = 60.0
_CLOSE_S = 10.0
_HOST = ray.remote(HostActor)  # once: each call would make Ray look at the whole class again
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a process must have in common with a system to serve it; `node` is "" when any will do."""

    search_path: tuple[str, ...]
    runtime_env: str
    node: str = ""

    @staticmethod
    def here(search_path: Sequence[str], *, any_node: bool = False) -> Terms:
        """Return those of this process, which must be a Ray worker or driver."""
        context: Any = ray.get_runtime_context()
        node = "" if any_node else context.get_node_id()
        return Terms(tuple(search_path), context.get_runtime_env_string(), node)


def warm_up(
    hosts: int = 6,
    *,
    preload: Sequence[str] = (),
    roots: int = 1,
    idle_s: float | None = None,
    namespace: str = NAMESPACE,
) -> int:
    """Keep processes ready on this node, so that systems start in a fraction of the time; return how many hosts are.

    `hosts` processes (about 100 MB each) have imported the roles and the modules of `preload`; `roots` processes of Ray
    wait for roots. They serve systems of this namespace whose drivers have this one's `sys.path` and runtime
    environment, and are replaced about two seconds after they were taken. The pool ends with the cluster, by
    `cool_down`, or when nobody took from it for `idle_s` seconds; systems on its processes go on. Calling it again
    changes the numbers. Blocks until the pool is full. Raises what kept a process from starting; the pool ends then.
    """
    if hosts < 1 or roots < 0 or (idle_s is not None and idle_s <= 0):
        raise SpecError(
            f"warm_up: hosts must be at least 1, roots not negative, idle_s above 0: {hosts}, {roots}, {idle_s}."
        )
    handle = (
        ray.remote(_PoolActor)
        .options(**actor_options(_POOL, namespace), get_if_exists=True, scheduling_strategy=this_node())
        .remote(search_path(), namespace)
    )
    port = RayPort(_POOL, handle)
    wanted = _Wanted(hosts, roots, tuple(dict.fromkeys((*ROLES, *preload))), idle_s)
    try:
        return int(port.call_blocking("keep", handle, wanted, timeout_s=_FILL_S))
    except (PortDiedError, PortUnavailableError) as error:
        raise RuntimeUnavailableError(f"The pool of warm processes ended: {error}") from None
    except Exception:
        cool_down(namespace=namespace)
        raise


def cool_down(*, namespace: str = NAMESPACE) -> bool:
    """End the pool and its unused processes; False when there is none. Systems on its processes go on."""
    handle = _pool(namespace)
    if handle is None:
        return False
    port = RayPort(_POOL, handle)
    with contextlib.suppress(TimeoutError, PortDiedError, PortUnavailableError):
        port.call_blocking("close", timeout_s=_FILL_S)
    port.kill()
    deadline = time.monotonic() + _CLOSE_S
    while _pool(namespace) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return True


async def take_warm(namespace: str, terms: Terms) -> tuple[str, Any] | None:
    """Return the name and handle of a process that is ready and now promised to the caller; None when there is none."""
    handle = _pool(namespace)
    if handle is None:
        return None
    with contextlib.suppress(TimeoutError, PortDiedError, PortUnavailableError):
        found: tuple[str, Any] | None = await RayPort(_POOL, handle).call("take", terms, timeout_s=_ANSWER_S)
        return found
    return None


def _pool(namespace: str) -> Any:
    try:
        return ray.get_actor(_POOL, namespace=namespace)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the pool keeps ready: processes for hosts, with these modules, and for roots."""

    hosts: int
    roots: int
    modules: tuple[str, ...]
    idle_s: float | None


class _PoolActor:
    """Keeps the processes. Those that wait keep a call pending on it, and end with it."""

    def __init__(self, path: Sequence[str], namespace: str) -> None:
        extend_search_path(path)
        self._terms, self._namespace = Terms.here(path), namespace
        self._id = str(ray.get_runtime_context().get_actor_id())[:12]
        self._numbers = itertools.count(1)
        self._ready: dict[str, Any] = {}
        self._wanted = _Wanted(0, 0, (), None)
        self._filling, self._changed = asyncio.Lock(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._used_at = time.monotonic()
        self._closing = False

    async def keep(self, me: Any, wanted: _Wanted) -> int:
        """Keep this many from now on, and return how many hosts there are when the pool is full."""
        self._me, self._wanted = RayPort(_POOL, me), wanted
        if not self._tasks:
            self._watch(self._tend())
        await self._fill()
        self._used_at = time.monotonic()
        return len(self._ready)

    async def take(self, terms: Terms) -> tuple[str, Any] | None:
        """Give one away to a root with these terms; None when there is none for it."""
        mine = Terms(self._terms.search_path, self._terms.runtime_env, terms.node and self._terms.node)
        if terms != mine or not self._ready:
            return None
        self._used_at = time.monotonic()
        self._changed.set()
        name, handle = self._ready.popitem()
        handle.promised.remote()
        return name, handle

    async def wait_closed(self) -> None:
        """Never return: who waits learns of this process's end."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """End all that wait, and start no more."""
        self._closing = True
        async with self._filling:
            for handle in self._ready.values():
                ray.kill(handle, no_restart=True)

    async def _tend(self) -> None:
        """Replace what was taken or died, a while later; end when nobody took anything for long."""
        while not self._closing:
            idle_s = self._wanted.idle_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(_LOOK_EVERY_S, idle_s or _LOOK_EVERY_S))
            while self._changed.is_set():
                self._changed.clear()
                await asyncio.sleep(_REFILL_AFTER_S)
            idle = idle_s is not None and time.monotonic() - self._used_at >= idle_s
            if idle and not self._filling.locked():
                end_process()
            try:
                await self._fill()
            except Exception as error:  # noqa: BLE001 - systems start without us too; the next look tries again
                _log.warning("a warm process did not start: %s", error)

    async def _fill(self) -> None:
        async with self._filling:
            missing = 0 if self._closing else self._wanted.hosts - len(self._ready)
            outcomes = await asyncio.gather(*(self._start() for _ in range(missing)), return_exceptions=True)
            await asyncio.to_thread(keep_idle_workers, self._wanted.roots)
        for error in outcomes:
            if error is not None:
                raise error

    async def _start(self) -> None:
        name = f"{_PREFIX}{self._id}-{next(self._numbers)}"
        options = actor_options(name, self._namespace)
        handle = _HOST.options(**options, scheduling_strategy=this_node()).remote(self._terms.search_path)
        port = RayPort(name, handle)
        try:
            await port.call("stand_by", self._me, self._wanted.modules, timeout_s=ATTACH_WITHIN_S)
        except BaseException:
            port.kill()
            raise
        self._ready[name] = handle
        self._watch(self._until_gone(name, port))

    async def _until_gone(self, name: str, port: RayPort) -> None:
        with contextlib.suppress(PortDiedError, PortUnavailableError):
            await port.call("taken")
        if self._ready.pop(name, None) is not None:
            self._changed.set()

    def _watch(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def actor_options(name: str, namespace: str) -> dict[str, Any]:
    """Return Ray's options for an actor that lives by itself, once, and takes any number of calls."""
    return {
        "name": name,
        "namespace": namespace,
        "lifetime": "detached",
        "num_cpus": 0,
        "memory": ANY_MEMORY,
        "max_restarts": 0,  # our supervisor restarts; two supervisors would fight
        "max_task_retries": 0,  # Ray's retries would replay side effects
        "max_concurrency": CONCURRENT_CALLS,
    }


def this_node() -> NodeAffinitySchedulingStrategy:
    """Return a wish for this process's node; any other one will do when it is gone."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)


def search_path() -> tuple[str, ...]:
    """Return where this process imports from, for others to do the same."""
    return tuple(entry or str(Path.cwd()) for entry in sys.path)
