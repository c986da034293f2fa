"""A host as a Ray actor."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import cloudpickle
import ray

from dspex_agents.errors import AgentFailedError
from dspex_agents.messaging.message import Envelope, Parcel, Reply
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.runtime.host import Host
from dspex_agents.runtime.port import HostOrder, Port, PortDiedError, PortUnavailableError
from dspex_agents.runtime.reports import HostReport
from dspex_agents.runtime.watchdog import Watchdog

ATTACH_WITHIN_S = 60.0
_UNATTACHED_S = 15.0  # of a process that runs: whoever made it calls it at once, unless it died
_LAST_WORDS_S = 2.0
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


class HostActor(Host):
    """A host in a Ray worker process of its own. Envelopes and replies cross as plain tuples.

    It becomes a host when it is attached to a root. Until then it may stand by in a pool; one that nobody attaches
    and that stands by in no living pool ends itself.
    """

    def __init__(self, search_path: Sequence[str]) -> None:
        extend_search_path(search_path)
        self._attached = asyncio.Event()
        self._standing_by: asyncio.Task[None] | None = None
        self._end_unless_attached()

    async def stand_by(self, pool: Port, modules: Sequence[str]) -> None:
        """Import the modules and wait for a root, as long as the pool lives."""
        for module in modules:
            importlib.import_module(module)
        self._unattached.cancel()
        self._standing_by = asyncio.get_running_loop().create_task(self._watch_pool(pool))

    async def promised(self) -> None:
        """Take note that the pool has named this process to a root: one that does not come in time is dead."""
        if not self._attached.is_set():
            self._end_unless_attached()

    async def taken(self) -> None:
        """Return when a root has come. The pool keeps a call of this pending to learn of this process's death."""
        await self._attached.wait()

    async def attach_to(self, root: Port, order: HostOrder, search_path: Sequence[str]) -> int:
        """Become the host that is ordered; see `Host.attach`."""
        self._unattached.cancel()
        if self._standing_by is not None:
            self._standing_by.cancel()
        self._attached.set()
        extend_search_path(search_path)
        node = ray.get_runtime_context().get_node_id()
        super().__init__(order.id, root, node=node, on_orphaned=end_process)
        pid = await self.attach(order.preload, order.dead_letters)
        frames = AgentCell._run.__code__  # noqa: SLF001 - its frame surrounds whatever an agent does
        Watchdog(order.hang_s, time.monotonic, frames, _name_in, self._hung).start()
        return pid

    async def describe(self) -> HostReport:
        """See `Host.describe`."""
        if not self._attached.is_set():
            raise PortUnavailableError("this process is no host yet")
        return await super().describe()

    def _end_unless_attached(self) -> None:
        # a root that dies between making or choosing this process and attaching it leaves nobody who could end it
        self._unattached = threading.Timer(_UNATTACHED_S, end_process)
        self._unattached.daemon = True
        self._unattached.start()

    async def _watch_pool(self, pool: Port) -> None:
        while True:
            try:
                await pool.call("wait_closed")
            except PortUnavailableError:
                continue
            except PortDiedError:
                end_process()

    def _hung(self, agent: str, where: str) -> None:
        """Tell the root whom to blame, and end: a loop that stands still can do neither."""
        with contextlib.suppress(TimeoutError, PortDiedError, PortUnavailableError):
            self._root.call_blocking("host_hung", self.host_id, agent, where, timeout_s=_LAST_WORDS_S)
        end_process()

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


def extend_search_path(entries: Sequence[str]) -> None:
    """Let this process import what the driver can."""
    sys.path.extend(entry for entry in entries if entry not in sys.path)


def end_process() -> None:
    """End this process at once: Ray's own orderly exit would wait for calls that are pending for ever."""
    os._exit(0)
