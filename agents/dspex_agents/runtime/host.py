"""A host: one process (or, in-process, one object) in which many light agents live."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Unpack

from dspex_agents.agent import AgentContext, AgentStatus, TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.messaging.message import AskOptions, Envelope, Reply, TellOptions
from dspex_agents.messaging.router import Router
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError
from dspex_agents.supervision.child_spec import ChildSpec
from dspex_agents.supervision.registry import Query, Registration

_T = TypeVar("_T")
_LAST_WORDS_S = 5.0
_ROOT_TIMEOUT_S = 5.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class AgentExited:
    """The agent of this name and epoch ended by itself."""

    name: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a host tells of itself: process id, resident memory in bytes, and the status of each agent."""

    host_id: str
    pid: int
    memory_bytes: int
    agents: tuple[AgentStatus, ...]


class Host:
    """Builds, runs and stops agents. Its methods are called by the root (life) and by routers (`deliver`)."""

    def __init__(
        self,
        host_id: str,
        root: Port,
        *,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        on_orphaned: Callable[[], None] | None = None,
    ) -> None:
        self.host_id, self._root = host_id, root
        self.clock = clock or SystemClock()
        self._router = Router(root, self.clock, ids or RandomIds())
        self._on_orphaned = on_orphaned
        self._cells: dict[str, AgentCell] = {}
        self._exits: list[AgentExited] = []
        self._exit_seen: asyncio.Event | None = None
        self._open_deliveries = 0
        self._guard: asyncio.Task[None] | None = None

    async def attach(self, preload: Sequence[str] = ()) -> int:
        """Import the modules, begin to watch the root, and return the process id. Called once by the factory."""
        for module in preload:
            importlib.import_module(module)
        if self._guard is None:
            self._guard = asyncio.get_running_loop().create_task(self._watch_root())
        return os.getpid()

    async def start_agent(self, spec: ChildSpec, epoch: int) -> None:
        """Build and start the agent as this epoch. Raises what its constructor or `on_start` raises."""
        if (old := self._cells.pop(spec.id, None)) is not None:
            await old.stop("replaced")
        context = AgentContext(spec.id, epoch, self)
        agent = spec.start(**spec.kwargs)
        cell = AgentCell(agent, context, lambda reason: self._exited(spec.id, epoch, reason))
        await cell.start()
        self._cells[spec.id] = cell

    async def stop_agent(self, name: str, epoch: int, reason: str) -> None:
        """Stop the agent in good order. Another epoch of it is left alone."""
        cell = self._cells.get(name)
        if cell is not None and cell.context.epoch == epoch:
            del self._cells[name]
            await cell.stop(reason)

    async def deliver(self, batch: list[Envelope]) -> list[Reply]:
        """Answer every envelope, each in its own time; the call returns when the last one is answered."""
        self._open_deliveries += 1
        try:
            if len(batch) == 1:
                return [await self._post(batch[0])]
            return list(await asyncio.gather(*(self._post(envelope) for envelope in batch)))
        finally:
            self._open_deliveries -= 1

    async def exits(self) -> list[AgentExited]:
        """Return the agents that ended by themselves since the last call; waits until there is one.

        The root keeps a call of this pending all the time: if the process dies, that call fails at once.
        """
        if self._exit_seen is None:
            self._exit_seen = asyncio.Event()
        if self._exits:
            self._exit_seen.set()
        await self._exit_seen.wait()
        self._exit_seen.clear()
        seen, self._exits = self._exits, []
        return seen

    async def describe(self) -> HostReport:
        """Return the figures of this moment."""
        statuses = tuple(cell.status() for cell in self._cells.values())
        return HostReport(self.host_id, os.getpid(), _resident_bytes(), statuses)

    async def shutdown(self) -> None:
        """Stop every agent, last started first."""
        if self._guard is not None:
            self._guard.cancel()
        await self._stop_agents("shutdown")
        # every mailbox is answered by now: let the answers leave before the process ends
        while self._open_deliveries:  # noqa: ASYNC110 - a few turns of the loop, no state to wait for
            await asyncio.sleep(0)

    def terminate(self) -> None:
        """Drop everything at once, as the death of the process would (the in-process runtime's `kill`)."""
        if self._guard is not None:
            self._guard.cancel()
        for cell in self._cells.values():
            cell.terminate()
        self._cells.clear()

    # what agents ask of their host (the contract `Hosting`) ---------------------------------------------------------
    async def ask(self, sender: str, to: str, body: Any, **options: Unpack[AskOptions]) -> Any:
        """See `AgentContext.ask`."""
        return await self._router.ask(to, body, sender=sender, **options)

    async def tell(self, sender: str, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """See `AgentContext.tell`."""
        raise NotImplementedError

    async def tree(self) -> TreeNode:
        """See `AgentContext.tree`."""
        tree: TreeNode = await self._root.call("tree", timeout_s=_ROOT_TIMEOUT_S)
        return tree

    async def find(self, query: Query) -> tuple[Registration, ...]:
        """See `AgentContext.find`."""
        found: tuple[Registration, ...] = await self._root.call("find", query, timeout_s=_ROOT_TIMEOUT_S)
        return found

    async def update(self, name: str, epoch: int, changes: Mapping[str, Any]) -> None:
        """See `AgentContext.update`."""
        await self._root.call("update", name, epoch, changes, timeout_s=_ROOT_TIMEOUT_S)

    async def start_children(self, supervisor: str, specs: Sequence[ChildSpec]) -> None:
        """See `AgentContext.start_children`."""
        await self._root.call("start_children", supervisor, tuple(specs))

    async def stop_child(self, name: str, reason: str = "shutdown") -> bool:
        """See `AgentContext.stop_child`."""
        return bool(await self._root.call("stop_child", name, reason))

    async def run_blocking(self, name: str, function: Callable[..., _T], *args: Any) -> _T:
        """See `AgentContext.run_blocking`."""
        raise NotImplementedError

    async def _post(self, envelope: Envelope) -> Reply:
        cell = self._cells.get(envelope.to)
        return Reply(envelope.id, stale=True) if cell is None else await cell.post(envelope)

    def _exited(self, name: str, epoch: int, reason: str) -> None:
        cell = self._cells.get(name)
        if cell is not None and cell.context.epoch == epoch:
            del self._cells[name]
        self._exits.append(AgentExited(name, epoch, reason))
        if self._exit_seen is not None:
            self._exit_seen.set()

    async def _stop_agents(self, reason: str) -> None:
        for name in reversed(list(self._cells)):
            await self._cells.pop(name).stop(reason)

    async def _watch_root(self) -> None:
        """End this host when its root is gone for good; a root that is being restarted finds it alive."""
        while True:
            try:
                await self._root.call("wait_closed")
            except PortUnavailableError:
                continue
            except PortDiedError:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop_agents("orphaned"), _LAST_WORDS_S)
                if self._on_orphaned is not None:
                    self._on_orphaned()
            return


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
