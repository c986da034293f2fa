"""The in-process runtime: the same root, hosts and agents on one event loop in a thread, for tests and debuggers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from dspex_agents.clock import Clock
from dspex_agents.ids import IdSource
from dspex_agents.runtime.host import Host
from dspex_agents.runtime.port import HostOrder, Port, PortDiedError
from dspex_agents.runtime.system import System
from dspex_agents.supervision.child_spec import AnySpec
from dspex_agents.supervision.root import SystemRoot
from dspex_agents.supervision.system_spec import SystemSpec


class LocalPort:
    """A port to an object on the runtime's loop. `kill` makes it as dead as a killed process."""

    def __init__(self, address: str, target: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._address, self._target, self._loop = address, target, loop
        self._death: asyncio.Future[None] = loop.create_future()
        self._thread = threading.get_ident()  # ports are made on the runtime's own thread

    @property
    def address(self) -> str:
        """The object's name."""
        return self._address

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call on the runtime's loop, from whichever loop this is."""
        self._check_open()
        if asyncio.get_running_loop() is self._loop:
            return await self._invoke(method, args, timeout_s)
        future = asyncio.run_coroutine_threadsafe(self._invoke(method, args, timeout_s), self._loop)
        return await asyncio.wrap_future(future)

    def call_blocking(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call from a thread other than the runtime's."""
        self._check_open()
        if threading.get_ident() == self._thread:
            raise RuntimeError("A blocking call from inside an agent would wait for itself; await the async form.")
        return asyncio.run_coroutine_threadsafe(self._invoke(method, args, timeout_s), self._loop).result()

    def kill(self) -> None:
        """Fail every pending and future call, and drop what the object was doing."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._die)

    def _check_open(self) -> None:
        if self._loop.is_closed():
            raise PortDiedError(self._address)

    def _die(self) -> None:
        if not self._death.done():
            self._death.set_result(None)
            if isinstance(self._target, Host):
                self._target.terminate()

    async def _invoke(self, method: str, args: tuple[Any, ...], timeout_s: float | None) -> Any:
        if self._death.done():
            raise PortDiedError(self._address)
        work = self._loop.create_task(getattr(self._target, method)(*args))
        work.add_done_callback(_forget)  # like a remote call: it goes on though nobody may wait for it any more
        await asyncio.wait((work, self._death), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if work.done() and not work.cancelled():
            return work.result()
        if self._death.done():
            work.cancel()
            raise PortDiedError(self._address)
        raise TimeoutError(f"{self._address}.{method} did not answer within {timeout_s} s")


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


class LocalHosts:
    """Makes hosts as plain objects on the runtime's loop."""

    def __init__(self, clock: Clock | None, ids: IdSource | None) -> None:
        self.root: Port | None = None
        self.ports: dict[str, LocalPort] = {}
        self._clock, self._ids = clock, ids

    async def start_host(self, order: HostOrder) -> Port:
        """Make a host and attach it. Resources and nodes mean nothing here: there is one process."""
        if self.root is None:
            raise RuntimeError("the root must exist before its hosts")
        host = Host(order.id, self.root, clock=self._clock, ids=self._ids)
        port = LocalPort(order.id, host, asyncio.get_running_loop())
        self.ports[order.id] = port
        await port.call("attach", order.preload, order.dead_letters)
        return port

    async def living_hosts(self) -> dict[str, Port]:
        """Return nothing: in-process hosts die with their root."""
        return {}

    def check_room(self, demands: Sequence[Mapping[str, float]]) -> None:
        """Refuse nothing."""

    def remember(self, children: Mapping[str, tuple[str, AnySpec]]) -> None:
        """Keep nothing: there is no root after this one."""

    def forget(self, ids: Iterable[str]) -> None:
        """Forget nothing."""

    def retire(self, ids: Collection[str]) -> None:
        """Keep nothing."""

    def retired(self) -> set[str]:
        """Return nothing."""
        return set()

    def remembered(self) -> dict[str, tuple[str, AnySpec]]:
        """Return nothing."""
        return {}


def start_local_system(spec: SystemSpec, *, clock: Clock | None = None, ids: IdSource | None = None) -> System:
    """Start the system in this process and return when every agent is up.

    `own` isolation gives an agent a host object of its own: it can be killed alone, but shares this process. Raises
    what kept the first failing agent from starting.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"dspex-{spec.name}", daemon=True)
    thread.start()

    def end() -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        _cancel_all(loop)
        loop.close()

    async def build() -> LocalPort:
        hosts = LocalHosts(clock, ids)
        root = LocalPort(spec.name, SystemRoot(spec, hosts, clock), loop)
        hosts.root = root
        await root.call("start")
        return root

    try:
        root = asyncio.run_coroutine_threadsafe(build(), loop).result()
    except BaseException:
        end()
        raise
    return System(spec.name, root, runtime="in-process", clock=clock, ids=ids, on_stopped=end)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
