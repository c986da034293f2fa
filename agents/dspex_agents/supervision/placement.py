"""Where agents live: hosts by group, warm spares, and the watch on each host's process."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dspex_agents.runtime.port import HostFactory, HostOrder, Port, PortDiedError, PortUnavailableError, Route
from dspex_agents.runtime.reports import AgentExited, AgentStarted, HostReport, Pulse
from dspex_agents.supervision.child_spec import ChildSpec, HostGroup
from dspex_agents.supervision.events import ChildExited, StopChild
from dspex_agents.supervision.system_spec import SystemSpec

_BATCH = 500
_ANSWER_S = 5.0
_GRACE_S = 1.0
_DIED = "killed: its process died"


class PlacementListener(Protocol):
    """Whoever is told what happens to agents without having asked for it."""

    def agents_lost(self, lost: Sequence[ChildExited]) -> None:
        """Take note that these agents went down together with their process."""
        ...

    def agent_exited(self, name: str, epoch: int, reason: str) -> None:
        """Take note that the agent ended by itself."""
        ...

    def pulse(self, pulse: Pulse) -> None:
        """Take note of a host's figures."""
        ...


@dataclass(slots=True, eq=False)
class HostRecord:
    """One living host, the group it serves (None for a spare) and the agents in it with their epochs."""

    id: str
    port: Port
    group: HostGroup | None
    node: str
    agents: dict[str, int] = field(default_factory=dict)
    watches: tuple[asyncio.Task[None], ...] = ()


class Placement:
    """Starts and stops agents on hosts, and tells its listener when something ends by itself."""

    def __init__(self, system: SystemSpec, factory: HostFactory, listener: PlacementListener) -> None:
        self._system, self._factory, self._listener = system, factory, listener
        self._hosts: dict[str, HostRecord] = {}
        self._where: dict[str, tuple[HostRecord, int]] = {}
        self._numbers = itertools.count(1)
        self._locks: dict[str, asyncio.Lock] = {}
        self._refilling: asyncio.Task[None] | None = None
        self._quarantined: set[str] = set()
        self._blamed: dict[str, tuple[str, str]] = {}
        self._home = ""
        self._closing = False

    async def open(self, specs: Sequence[ChildSpec]) -> None:
        """Start the hosts that these agents need, all at once: a process takes up to half a second.

        Raises ClusterTooSmallError when they can never fit.
        """
        wanted = Counter(self._group(spec) for spec in specs)
        needed = {group: -(-count // group.most_agents) for group, count in wanted.items()}
        self._factory.check_room([group.resources for group, count in needed.items() for _ in range(count)])
        have = Counter(record.group.name for record in self._hosts.values() if record.group is not None)
        missing = [group for group, count in needed.items() for _ in range(count - have[group.name])]
        await asyncio.gather(*(self._new_host(group) for group in missing))

    def keep_spares(self) -> None:
        """Start the spares that are missing, in the background: nobody waits for them."""
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def adopt(self) -> tuple[dict[str, tuple[int, AgentStarted]], dict[str, str]]:
        """Take over living hosts of an earlier root.

        Return the agents that live in them, with their epochs, and why others ended without being reported yet.
        """
        adopted: dict[str, tuple[int, AgentStarted]] = {}
        ended: dict[str, str] = {}
        for host_id, port in (await self._factory.living_hosts()).items():
            try:
                report: HostReport = await port.call("describe", timeout_s=_ANSWER_S)
                agents: dict[str, tuple[int, AgentStarted]] = await port.call("introduce", timeout_s=_ANSWER_S)
            except (TimeoutError, PortDiedError, PortUnavailableError):
                port.kill()  # its agents are started elsewhere: it must not go on with them
                continue
            self._numbers = itertools.count(max(next(self._numbers), int(host_id.rsplit("@", 1)[1]) + 1))
            record = HostRecord(host_id, port, report.group, report.node)
            record.agents = {name: epoch for name, (epoch, _) in agents.items()}
            ended |= {exited.name: exited.reason for exited in report.exits}
            self._admit(record)
            self._where.update({name: (record, epoch) for name, epoch in record.agents.items()})
            adopted |= agents
        return adopted, ended

    # agents -------------------------------------------------------------------------------------------------------
    async def start(self, agents: Sequence[tuple[ChildSpec, int]], report: Callable[..., None]) -> None:
        """Start agents as these epochs, those of one host in batches. Calls `report(spec, epoch, started)` for each.

        For those whose host dies meanwhile the listener's `agents_lost` is called instead.
        """
        by_group: dict[HostGroup, list[tuple[ChildSpec, int]]] = {}
        for spec, epoch in agents:
            by_group.setdefault(self._group(spec), []).append((spec, epoch))
        await asyncio.gather(*(self._start_in(group, several, report) for group, several in by_group.items()))

    async def _start_in(
        self, group: HostGroup, agents: list[tuple[ChildSpec, int]], report: Callable[..., None]
    ) -> None:
        by_host: dict[HostRecord, list[tuple[ChildSpec, int]]] = {}
        for position, (spec, epoch) in enumerate(agents):
            try:
                record = await self._room_for(spec.id, epoch, group)
            except (PortDiedError, PortUnavailableError) as error:
                self._listener.agents_lost([ChildExited(s.id, e, f"killed: {error}") for s, e in agents[position:]])
                break
            except Exception as error:  # noqa: BLE001 - whatever keeps a process from starting is a failed start
                for failed, its_epoch in agents[position:]:
                    report(failed, its_epoch, AgentStarted(error=error))
                break
            by_host.setdefault(record, []).append((spec, epoch))
        starts = (
            self._start_on(record, group, several[i : i + _BATCH], report)
            for record, several in by_host.items()
            for i in range(0, len(several), _BATCH)
        )
        await asyncio.gather(*starts)

    async def _start_on(
        self, record: HostRecord, group: HostGroup, batch: list[tuple[ChildSpec, int]], report: Callable[..., None]
    ) -> None:
        try:
            outcomes: list[AgentStarted] = await record.port.call("start_agents", group, batch)
        except (PortDiedError, PortUnavailableError) as error:
            self._lost(record)  # the next attempt must not find the dead host again
            self._listener.agents_lost([ChildExited(s.id, e, f"{_DIED} ({error})") for s, e in batch])
            return
        for (spec, epoch), outcome in zip(batch, outcomes, strict=True):
            if outcome.error is None:
                self._where[spec.id] = (record, epoch)
            elif record.agents.get(spec.id) == epoch:
                del record.agents[spec.id]
            report(spec, epoch, dataclasses.replace(outcome, node=record.node, host=record.id))

    async def stop(self, agents: Sequence[tuple[ChildSpec, StopChild]], report: Callable[..., None]) -> None:
        """Stop agents in good order, each killed after its `shutdown_s`. Calls `report(spec, epoch, reason)` for each.

        The agents of one host are stopped side by side.
        """
        by_host: dict[HostRecord, list[tuple[ChildSpec, StopChild]]] = {}
        for spec, order in agents:
            record, placed = self._where.pop(spec.id, (None, 0))
            if record is None or placed != order.epoch:
                report(spec, order.epoch, order.reason)
                continue
            record.agents.pop(spec.id, None)
            by_host.setdefault(record, []).append((spec, order))
        await asyncio.gather(*(self._stop_on(record, several, report) for record, several in by_host.items()))

    async def _stop_on(
        self, record: HostRecord, agents: list[tuple[ChildSpec, StopChild]], report: Callable[..., None]
    ) -> None:
        longest = max(order.shutdown_s for _, order in agents)
        batch = [(order.id, order.epoch, order.shutdown_s, order.reason) for _, order in agents]
        timeout_s = None if longest == float("inf") else longest + _GRACE_S
        try:
            reasons: list[str] = await record.port.call("stop_agents", batch, timeout_s=timeout_s)
        except TimeoutError:
            reasons = [f"killed: did not stop within {order.shutdown_s:g} s" for _, order in agents]
        except (PortDiedError, PortUnavailableError):
            reasons = ["killed: its process died while it was stopping"] * len(agents)
        for (spec, order), reason in zip(agents, reasons, strict=True):
            if reason.startswith("killed") and _is_own(record):
                self._drop(record)
            report(spec, order.epoch, reason)

    async def kill(self, name: str) -> None:
        """End an agent at once: with its process where that is its own. Its end is reported to the listener."""
        record, epoch = self._where[name]
        if _is_own(record):
            record.port.kill()
        else:
            await record.port.call("kill_agent", name, epoch, timeout_s=_ANSWER_S)

    async def retire(self, spec: ChildSpec) -> None:
        """End the process that an agent had to itself, now that the agent is gone for good."""
        for record in list(self._hosts.values()):
            if record.group is not None and record.group.name == f"own:{spec.id}" and not record.agents:
                await self._shut(record)
        self._quarantined.discard(spec.id)

    def blame(self, host_id: str, agent: str, where: str) -> None:
        """Note that this agent keeps a host from going on; the host ends itself next."""
        if host_id in self._hosts:
            self._blamed[host_id] = (agent, where)

    def route(self, name: str) -> Route | None:
        """Return where the agent lives, or None while it does not."""
        if name not in self._where:
            return None
        record, epoch = self._where[name]
        return Route(record.port, epoch)

    async def ask_hosts(self, method: str, *args: Any, timeout_s: float) -> dict[str, Any]:
        """Call every host at once; a host that does not answer in time is left out (its watch acts on a death)."""
        records = list(self._hosts.values())
        answers = await asyncio.gather(*(_or_none(r.port.call(method, *args, timeout_s=timeout_s)) for r in records))
        return {r.id: answer for r, answer in zip(records, answers, strict=True) if answer is not None}

    async def close(self) -> None:
        """Shut every host down and end its process."""
        self._closing = True
        if self._refilling is not None:
            self._refilling.cancel()  # a host half started ends now, or with the root
            await asyncio.wait([self._refilling])
        await asyncio.gather(*(self._shut(record) for record in list(self._hosts.values())))

    # hosts --------------------------------------------------------------------------------------------------------
    def _group(self, spec: ChildSpec) -> HostGroup:
        if spec.id in self._quarantined:
            spec = dataclasses.replace(spec, isolation="own")
        return self._system.group_of(spec)

    async def _room_for(self, name: str, epoch: int, group: HostGroup) -> HostRecord:
        async with self._locks.setdefault(group.name, asyncio.Lock()):
            mine = (r for r in self._hosts.values() if r.group == group and len(r.agents) < group.most_agents)
            record = next(mine, None) or self._spare_for(group) or await self._new_host(group)
            record.agents[name] = epoch  # taken before it is started: the next one must see it
            return record

    def _spare_for(self, group: HostGroup) -> HostRecord | None:
        if group.resources:
            return None
        for record in self._hosts.values():
            if record.group is None and (group.spread or record.node == self._home):
                record.group = group
                self.keep_spares()
                return record
        return None

    async def _new_host(self, group: HostGroup | None) -> HostRecord:
        host_id = f"{group.name if group else 'spare'}@{next(self._numbers)}"
        order = HostOrder(
            id=host_id,
            preload=self._system.preload,
            resources=group.resources if group else {},
            spread=group.spread if group else True,
            hang_s=self._system.hang_s,
            dead_letters=self._system.dead_letters,
        )
        port = await self._factory.start_host(order)
        report: HostReport = await port.call("describe")
        record = HostRecord(host_id, port, group, report.node)
        if group is not None and not group.spread and not self._home:
            self._home = report.node
        self._admit(record)
        return record

    async def _refill(self) -> None:
        missing = 0 if self._closing else self._system.spare_hosts - sum(r.group is None for r in self._hosts.values())
        await asyncio.gather(*(self._new_host(None) for _ in range(missing)))

    def _admit(self, record: HostRecord) -> None:
        self._hosts[record.id] = record
        loop = asyncio.get_running_loop()
        record.watches = (loop.create_task(self._watch(record)), loop.create_task(self._feel(record)))

    async def _watch(self, record: HostRecord) -> None:
        """Keep a call pending on the host: it fails at once when the process dies."""
        seen = 0
        while True:
            try:
                exits: list[AgentExited] = await record.port.call("exits", seen)
            except (PortDiedError, PortUnavailableError):
                self._lost(record)
                return
            for exited in exits:
                seen = exited.number
                if record.agents.get(exited.name) == exited.epoch:
                    del record.agents[exited.name]
                    self._where.pop(exited.name, None)
                self._listener.agent_exited(exited.name, exited.epoch, exited.reason)

    async def _feel(self, record: HostRecord) -> None:
        """Feel the pulse of the host's event loop; one that stands still although its process lives is ended."""
        while True:
            await asyncio.sleep(self._system.heartbeat_s)
            try:
                # the host's own watchdog is quicker and knows whom to blame; this one needs no help from the host
                pulse: Pulse = await record.port.call("pulse", timeout_s=2 * self._system.hang_s)
            except TimeoutError:
                self._lost(record, f"hung: its host did not answer for {2 * self._system.hang_s:g} s")
                return
            except (PortDiedError, PortUnavailableError):
                return  # `_watch` sees it too
            self._listener.pulse(pulse)

    def _lost(self, record: HostRecord, reason: str = _DIED) -> None:
        if self._hosts.pop(record.id, None) is None or self._closing:
            return
        record.port.kill()  # unreachable is not dead: make sure that no late incarnation goes on working
        for watch in record.watches:
            if watch is not asyncio.current_task():
                watch.cancel()
        culprit, where = self._blamed.pop(record.id, ("", ""))
        if culprit in record.agents and not _is_own(record):
            self._quarantined.add(culprit)
        lost = []
        for name, epoch in record.agents.items():
            self._where.pop(name, None)
            lost.append(ChildExited(name, epoch, _told(name, culprit, where, reason)))
        if lost:
            self._listener.agents_lost(lost)
        self.keep_spares()

    def _drop(self, record: HostRecord) -> None:
        self._hosts.pop(record.id, None)
        for watch in record.watches:
            watch.cancel()
        record.port.kill()

    async def _shut(self, record: HostRecord) -> None:
        for watch in record.watches:
            watch.cancel()
        await _or_none(record.port.call("shutdown", timeout_s=_ANSWER_S))
        self._drop(record)


def _told(name: str, culprit: str, where: str, reason: str) -> str:
    if not culprit:
        return reason
    return f"hung: it blocked the event loop in {where}" if name == culprit else f"killed: {culprit!r} hung its host"


def _is_own(record: HostRecord) -> bool:
    return record.group is not None and record.group.name.startswith("own:")


async def _or_none(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except (TimeoutError, PortDiedError, PortUnavailableError):
        return None
