"""A host: one process (or, in-process, one object) in which many light agents live."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, Unpack

from dspex_agents.agent import AgentContext, TreeNode
from dspex_agents.clock import Clock, SystemClock
from dspex_agents.errors import AgentStoppedError
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter
from dspex_agents.messaging.message import AskOptions, Envelope, Parcel, Reply, TellOptions
from dspex_agents.messaging.refusals import travelling
from dspex_agents.runtime.blocking_work import BlockingWork
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.runtime.deliveries import Deliveries
from dspex_agents.runtime.letter_carrier import LetterCarrier
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError
from dspex_agents.runtime.post_office import PostOffice
from dspex_agents.runtime.reports import AgentExited, AgentStarted, HostReport, Pulse
from dspex_agents.supervision.changes import Changes
from dspex_agents.supervision.child_spec import ChildSpec, HostGroup
from dspex_agents.supervision.registry import Query, Registration

_T = TypeVar("_T")
_LAST_WORDS_S = 5.0
_ANSWERS_LEAVE_S = 0.5
_LETTERS_LEAVE_S = 1.0
_ROOT_TIMEOUT_S = 5.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Host:
    """Builds, runs and stops agents. Its methods are called by the root (life) and by routers (`deliver`)."""

    def __init__(
        self,
        host_id: str,
        root: Port,
        *,
        node: str = "local",
        clock: Clock | None = None,
        ids: IdSource | None = None,
        on_orphaned: Callable[[], None] | None = None,
    ) -> None:
        self.host_id, self.node, self._root = host_id, node, root
        self.clock = clock or SystemClock()
        self._on_orphaned = on_orphaned
        self._group: HostGroup | None = None
        self._cells: dict[str, AgentCell] = {}
        self._post_office = PostOffice(self._cells, root, self.clock, ids or RandomIds())
        self._deliveries = Deliveries(self._cells, self.clock, self._post_office.lost)
        self._blocking = BlockingWork()
        self._latest: dict[str, int] = {}
        self._stall_s: dict[str, float] = {}
        self._loads: dict[str, float] = {}
        self._changes: dict[str, dict[str, Any]] = {}
        self._exits: deque[AgentExited] = deque()
        self._numbers = itertools.count(1)
        self._exit_seen = Changes()
        self._guard: asyncio.Task[None] | None = None
        self._carrier: LetterCarrier | None = None

    async def attach(self, preload: Sequence[str] = (), dead_letters: str | None = None) -> int:
        """Import the modules, begin to watch the root, and return the process id. Called once by the factory.

        Dead letters are handed on to the agent `dead_letters`, if one is named.
        """
        for module in preload:
            importlib.import_module(module)
        if self._guard is None:
            self._guard = asyncio.get_running_loop().create_task(self._watch_root())
            if dead_letters is not None:
                ask = partial(self._post_office.ask, "")
                self._carrier = LetterCarrier(self._post_office.letters, dead_letters, ask)
                self._carrier.start()
        return os.getpid()

    async def start_agents(self, group: HostGroup, batch: Sequence[tuple[ChildSpec, int]]) -> list[AgentStarted]:
        """Build and start agents as these epochs, side by side; the host serves `group` from now on."""
        self._group = group
        return list(await asyncio.gather(*(self._start(spec, epoch) for spec, epoch in batch)))

    async def _start(self, spec: ChildSpec, epoch: int) -> AgentStarted:
        self._latest[spec.id] = epoch
        try:
            if (old := self._cells.pop(spec.id, None)) is not None:
                await old.stop("replaced")
            agent = spec.start(**spec.kwargs)
            name = spec.id
            cell = AgentCell(
                agent,
                AgentContext(name, epoch, self),
                lambda reason: self._exited(name, epoch, reason),
                shutdown_s=spec.shutdown_s,
                on_dead_letter=self._post_office.add_dead_letter,
            )
            await cell.start()
        except Exception as error:  # noqa: BLE001 - the actor boundary: whatever a constructor raises is a failed start
            return AgentStarted(error=travelling(error))
        if self._latest.get(name) != epoch:  # a restarted root did not know of us and began another incarnation
            await cell.stop("replaced")
            return AgentStarted(error=AgentStoppedError(f"Agent {name!r} was replaced while it was starting."))
        self._cells[name] = cell
        if spec.stall_s is not None:
            self._stall_s[name] = spec.stall_s
        return AgentStarted(capabilities=agent.capabilities, kind=type(agent).__name__)

    async def stop_agents(self, batch: Sequence[tuple[str, int, float, str]]) -> list[str]:
        """Stop agents (name, epoch, seconds allowed, why) in good order, side by side, and return how each ended.

        Another epoch of an agent is left alone.
        """
        return list(await asyncio.gather(*(self._stop(*order) for order in batch)))

    async def _stop(self, name: str, epoch: int, within_s: float, reason: str) -> str:
        cell = self._taken_out(name, epoch)
        if cell is None:
            return reason
        try:
            async with asyncio.timeout(None if within_s == math.inf else within_s):
                await cell.stop(reason)
        except TimeoutError:
            cell.abort(text := f"killed: did not stop within {within_s:g} s")
            return text
        return reason

    async def kill_agent(self, name: str, epoch: int) -> None:
        """End an agent at once: no hook runs; whoever waits for an answer learns that it is of unknown outcome."""
        self._end(name, epoch, "killed by hand")

    def _end(self, name: str, epoch: int, reason: str) -> None:
        if (cell := self._taken_out(name, epoch)) is not None:
            cell.abort(reason)
            self._note_exit(name, epoch, reason)

    def _taken_out(self, name: str, epoch: int) -> AgentCell | None:
        cell = self._cells.get(name)
        if cell is None or cell.context.epoch != epoch:
            return None
        del self._cells[name]
        for table in (self._latest, self._stall_s, self._loads, self._changes):
            table.pop(name, None)
        return cell

    async def deliver(self, envelope: Envelope) -> Reply:
        """See `Deliveries.deliver`."""
        return await self._deliveries.deliver(envelope)

    async def accept(self, link_id: str, batch: tuple[tuple[Any, ...], ...]) -> Parcel:
        """See `Deliveries.accept`."""
        return await self._deliveries.accept(link_id, batch)

    async def replies(self, link_id: str) -> Parcel:
        """See `Deliveries.replies`."""
        return await self._deliveries.replies(link_id)

    async def dead_letters(self, which: DeadLetterFilter = ALL_LETTERS, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """Return messages that came to nothing here, oldest first, at most `limit`."""
        return self._post_office.letters.entries(which, limit=limit)

    async def letter_previews(self, which: DeadLetterFilter = ALL_LETTERS, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """Return what `dead_letters` does, with the start of its text in place of each message."""
        return self._post_office.letters.previews(which, limit=limit)

    async def redrive(self, which: DeadLetterFilter = ALL_LETTERS) -> int:
        """Send dead letters again; return how many."""
        return self._post_office.redrive(which)

    async def purge(self, which: DeadLetterFilter = ALL_LETTERS) -> int:
        """Throw dead letters away; return how many."""
        return self._post_office.letters.purge(which)

    async def exits(self, seen: int = 0) -> list[AgentExited]:
        """Return the agents that ended by themselves, after exit number `seen`; waits until there is one.

        The root keeps a call of this pending all the time: if the process dies, that call fails at once. What was not
        acknowledged by a later `seen` is told again, as to a root that was restarted.
        """
        while self._exits and self._exits[0].number <= seen:
            self._exits.popleft()
        await self._exit_seen.wait_for(lambda: bool(self._exits) and self._exits[-1].number > seen)
        return [exited for exited in self._exits if exited.number > seen]

    async def pulse(self) -> Pulse:
        """Prove that the loop moves, end agents that hang in a message, and tell the loads that changed."""
        for name, stall_s in list(self._stall_s.items()):
            if (cell := self._cells.get(name)) is not None and cell.oldest_s > stall_s:
                self._end(name, cell.context.epoch, f"stalled: no progress in a message for {cell.oldest_s:.1f} s")
        changed = {n: load for n, cell in self._cells.items() if (load := cell.load) != self._loads.get(n, 0.0)}
        self._loads |= changed
        return Pulse(self.host_id, changed)

    async def describe(self) -> HostReport:
        """Return the figures of this moment."""
        return HostReport(
            self.host_id,
            os.getpid(),
            _resident_bytes(),
            tuple(cell.status() for cell in self._cells.values()),
            node=self.node,
            group=self._group,
            exits=tuple(self._exits),
            dead_letters=len(self._post_office.letters),
        )

    async def introduce(self) -> dict[str, tuple[int, AgentStarted]]:
        """Return every agent's epoch, and what a root must know of it: asked by one that was restarted."""
        self._loads.clear()  # it knows none of them: the next pulse tells all
        return {
            name: (
                cell.context.epoch,
                AgentStarted(
                    capabilities=cell.agent.capabilities,
                    kind=type(cell.agent).__name__,
                    node=self.node,
                    host=self.host_id,
                    changes=self._changes.get(name, {}),
                ),
            )
            for name, cell in self._cells.items()
        }

    async def shutdown(self) -> None:
        """Stop every agent, last started first."""
        if self._guard is not None:
            self._guard.cancel()
        await self._stop_agents("shutdown")
        # every mailbox is answered by now: let the answers leave before the process ends
        await self._deliveries.emptied(_ANSWERS_LEAVE_S)
        if self._carrier is not None:
            await self._carrier.close(_LETTERS_LEAVE_S)
        self._blocking.close()

    def terminate(self) -> None:
        """Drop everything at once, as the death of the process would (the in-process runtime's `kill`)."""
        if self._guard is not None:
            self._guard.cancel()
        if self._carrier is not None:
            self._carrier.cancel()
        for cell in self._cells.values():
            cell.terminate()
        self._cells.clear()
        self._post_office.close()
        self._blocking.close()

    # what agents ask of their host (the contract `Hosting`) ---------------------------------------------------------
    def ask(self, sender: str, to: str, body: Any, **options: Unpack[AskOptions]) -> Coroutine[Any, Any, Any]:
        """See `AgentContext.ask`."""
        return self._post_office.ask(sender, to, body, **options)

    def tell(self, sender: str, to: str, body: Any, **options: Unpack[TellOptions]) -> Coroutine[Any, Any, None]:
        """See `AgentContext.tell`."""
        return self._post_office.tell(sender, to, body, **options)

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
        kept = self._changes.setdefault(name, {})  # for a root that is restarted; what was refused is not kept
        metadata = {**kept.get("metadata", {}), **changes.get("metadata", {})}
        kept |= {**changes, "metadata": metadata}

    async def start_children(self, supervisor: str, specs: Sequence[ChildSpec]) -> None:
        """See `AgentContext.start_children`."""
        await self._root.call("start_children", supervisor, tuple(specs))

    async def stop_child(self, name: str, reason: str = "shutdown") -> bool:
        """See `AgentContext.stop_child`."""
        return bool(await self._root.call("stop_child", name, reason))

    async def run_blocking(self, name: str, function: Callable[..., _T], *args: Any) -> _T:
        """See `AgentContext.run_blocking`."""
        cell = self._cells.get(name)
        return await self._blocking.run(name, 1 if cell is None else cell.agent.concurrency, function, *args)

    def _exited(self, name: str, epoch: int, reason: str) -> None:
        self._taken_out(name, epoch)
        self._note_exit(name, epoch, reason)

    def _note_exit(self, name: str, epoch: int, reason: str) -> None:
        self._exits.append(AgentExited(next(self._numbers), name, epoch, reason))
        self._exit_seen.notify()

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
