"""The mail of a process that is no host, such as a driver: what its event loops send at once travels together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from dspex_agents.clock import Clock
from dspex_agents.ids import IdSource
from dspex_agents.messaging.link import Link
from dspex_agents.messaging.message import Envelope
from dspex_agents.messaging.resolver import Resolver
from dspex_agents.runtime.port import Port


@dataclass(slots=True)
class _Desk:
    """What belongs to one event loop."""

    resolver: Resolver
    links: dict[str, Link] = field(default_factory=dict)


class OutsideMail:
    """Carries the questions of any number of event loops, over one link for each loop and host."""

    def __init__(self, root: Port, clock: Clock, ids: IdSource) -> None:
        self._root, self._clock, self._ids = root, clock, ids
        self._desks: dict[asyncio.AbstractEventLoop, _Desk] = {}

    async def carry(self, port: Port, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        """Make one call of a router's conversation."""
        desk = self._desk()
        if method == "resolve":
            name, _, gone_epoch = args
            return await desk.resolver.resolve(name, timeout_s, gone_epoch)
        envelope: Envelope = args[0]
        if envelope.told:  # its sender waits until it is in the mailbox, which a link does not tell
            return await port.call(method, envelope, timeout_s=timeout_s)
        link = desk.links.get(port.address)
        if link is None or link.is_lost:
            link = desk.links[port.address] = Link(port, self._ids.new("link"), self._clock)
        return await link.ask(envelope, timeout_s)

    def _desk(self) -> _Desk:
        loop = asyncio.get_running_loop()
        desk = self._desks.get(loop)
        if desk is None:
            self._desks = {known: one for known, one in self._desks.items() if not known.is_closed()}
            desk = self._desks[loop] = _Desk(Resolver(self._root))
        return desk
