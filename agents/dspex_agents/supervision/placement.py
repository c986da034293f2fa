"""Where agents live: hosts by group, warm spares, and the watch on each host's process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.runtime.host import AgentExited
from dspex_agents.runtime.port import HostFactory, Port, PortDiedError, PortUnavailableError, Route
from dspex_agents.supervision.child_spec import ChildSpec


@dataclass(slots=True)
class _HostRecord:
    """One living host, the group it serves ("" for a spare) and the agents in it with their epochs."""

    id: str
    port: Port
    group: str
    agents: dict[str, int] = field(default_factory=dict)
    watch: asyncio.Task[None] | None = None


class Placement:
    """Starts and stops agents on hosts. Calls `on_host_died` and `on_agent_exited` when something ends by itself."""

    def __init__(
        self,
        factory: HostFactory,
        preload: tuple[str, ...],
        spares: int,
        on_host_died: Callable[[dict[str, int]], None],
        on_agent_exited: Callable[[str, int, str], None],
    ) -> None:
        self._factory, self._preload, self._spares = factory, preload, spares
        self._on_host_died, self._on_agent_exited = on_host_died, on_agent_exited
        self._hosts: dict[str, _HostRecord] = {}
        self._where: dict[str, tuple[_HostRecord, int]] = {}
        self._numbers = itertools.count(1)
        self._group_locks: dict[str, asyncio.Lock] = {}
        self._refilling: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self, specs: list[ChildSpec]) -> None:
        """Start the hosts that these agents need and the spares, all at once: a process takes up to half a second."""
        groups = dict.fromkeys(_group(spec) for spec in specs)
        await asyncio.gather(*(self._host_of(group) for group in groups), self._refill())

    async def adopt(self) -> dict[str, int]:
        """Take over living hosts of an earlier root. Return the agents that live in them, with their epochs."""
        for host_id, port in (await self._factory.living_hosts()).items():
            report = await port.call("describe", timeout_s=5.0)
            group, number = host_id.rsplit("@", 1)
            self._numbers = itertools.count(max(next(self._numbers), int(number) + 1))
            record = _HostRecord(host_id, port, "" if group == "spare" else group)
            record.agents = {status.name: status.epoch for status in report.agents}
            if record.agents and not record.group:
                record.group = f"own:{next(iter(record.agents))}"  # a spare that had been taken into use
            self._admit(record)
            self._where.update({name: (record, epoch) for name, epoch in record.agents.items()})
        return {name: epoch for name, (_, epoch) in self._where.items()}

    async def start(self, spec: ChildSpec, epoch: int) -> None:
        """Start the agent in the host of its group. Raises what its constructor or `on_start` raises."""
        record = await self._host_of(_group(spec))
        record.agents[spec.id] = epoch
        try:
            await record.port.call("start_agent", spec, epoch)
        except (PortDiedError, PortUnavailableError):
            record.agents.pop(spec.id, None)
            self._lost(record)  # the next attempt must not find the dead host again
            raise
        except BaseException:
            record.agents.pop(spec.id, None)
            raise
        self._where[spec.id] = (record, epoch)

    async def stop(self, spec: ChildSpec, epoch: int, shutdown_s: float) -> str:
        """Stop the agent; kill its process if it does not end in time and lives there alone. Return the reason."""
        record, _ = self._where.pop(spec.id, (None, 0))
        if record is None:
            return "shutdown"
        record.agents.pop(spec.id, None)
        reason = "shutdown"
        try:
            await record.port.call("stop_agent", spec.id, epoch, "shutdown", timeout_s=shutdown_s)
        except TimeoutError:
            reason = f"killed: did not stop within {shutdown_s:g} s"
            if spec.isolation == "own":
                self._drop(record)
        except (PortDiedError, PortUnavailableError):
            reason = "killed: its process died while it was stopping"
        return reason

    def route(self, name: str) -> Route | None:
        """Return where the agent lives, or None while it does not."""
        if name not in self._where:
            return None
        record, epoch = self._where[name]
        return Route(record.port, epoch)

    def ports(self) -> list[Port]:
        """Return the ports of all living hosts."""
        return [record.port for record in self._hosts.values()]

    async def close(self) -> None:
        """Shut every host down and end its process."""
        self._closing = True
        if self._refilling is not None:
            await self._refilling  # a host half started would be forgotten
        records = list(self._hosts.values())
        await asyncio.gather(*(self._shut(record) for record in records))

    # hosts --------------------------------------------------------------------------------------------------------
    async def _host_of(self, group: str) -> _HostRecord:
        async with self._group_locks.setdefault(group, asyncio.Lock()):
            for record in self._hosts.values():
                if record.group == group:
                    return record
            if (spare := next((r for r in self._hosts.values() if not r.group), None)) is not None and _is_own(group):
                spare.group = group
                self._refilling = asyncio.get_running_loop().create_task(self._refill())
                return spare
            return await self._new_host(group)

    async def _new_host(self, group: str) -> _HostRecord:
        host_id = f"{group or 'spare'}@{next(self._numbers)}"
        record = _HostRecord(host_id, await self._factory.start_host(host_id, self._preload), group)
        self._admit(record)
        return record

    async def _refill(self) -> None:
        missing = 0 if self._closing else self._spares - sum(1 for r in self._hosts.values() if not r.group)
        await asyncio.gather(*(self._new_host("") for _ in range(missing)))

    def _admit(self, record: _HostRecord) -> None:
        self._hosts[record.id] = record
        record.watch = asyncio.get_running_loop().create_task(self._watch(record))

    async def _watch(self, record: _HostRecord) -> None:
        while True:
            try:
                exits: list[AgentExited] = await record.port.call("exits")
            except (PortDiedError, PortUnavailableError):
                self._lost(record)
                return
            for exited in exits:
                if record.agents.get(exited.name) == exited.epoch:
                    del record.agents[exited.name]
                    self._where.pop(exited.name, None)
                self._on_agent_exited(exited.name, exited.epoch, exited.reason)

    def _lost(self, record: _HostRecord) -> None:
        if self._hosts.pop(record.id, None) is None or self._closing:
            return
        record.port.kill()  # unreachable is not dead: make sure that no late incarnation goes on working
        for name in record.agents:
            self._where.pop(name, None)
        self._on_host_died(dict(record.agents))

    def _drop(self, record: _HostRecord) -> None:
        self._hosts.pop(record.id, None)
        if record.watch is not None:
            record.watch.cancel()
        record.port.kill()

    async def _shut(self, record: _HostRecord) -> None:
        if record.watch is not None:
            record.watch.cancel()
        await _quietly(record.port.call("shutdown", timeout_s=5.0))
        self._drop(record)


async def _quietly(call: Any) -> None:
    try:
        await call
    except (TimeoutError, PortDiedError, PortUnavailableError):
        return  # it is killed next in any case


def _group(spec: ChildSpec) -> str:
    return f"own:{spec.id}" if spec.isolation == "own" else spec.host


def _is_own(group: str) -> bool:
    return group.startswith("own:")
