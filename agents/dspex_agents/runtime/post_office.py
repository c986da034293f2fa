"""The mail of one host: what its agents send, wherever it goes, and the letters that came to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Unpack

from dspex_agents.clock import Clock
from dspex_agents.ids import IdSource
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter, DeadLetters
from dspex_agents.messaging.lane import PATIENCE_S, Lane
from dspex_agents.messaging.link import Link
from dspex_agents.messaging.message import AskOptions, Envelope, Priority, Reply, TellOptions
from dspex_agents.messaging.resolver import Resolver
from dspex_agents.messaging.router import GRACE_S, Manner, Router, overdue
from dspex_agents.messaging.trace_context import current_trace
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.runtime.port import Port, Route

_PLAIN = Manner()
_MOST_LANES = 1000
_new = tuple.__new__  # half the time of calling the class, and this is done for every message


class PostOffice:
    """Sends messages to agents of this host directly, to others over one link for each host."""

    def __init__(self, here: Mapping[str, AgentCell], root: Port, clock: Clock, ids: IdSource) -> None:
        self.here, self.clock = here, clock
        self._ids = ids
        self._router = Router(root, clock, ids, self._carry)
        self.routes = self._router.routes
        self._links: dict[str, Link] = {}
        self._resolver = Resolver(root)
        self.letters = DeadLetters(ids)
        self.redriven: dict[str, DeadLetter] = {}
        self._lanes: dict[str, Lane] = {}
        self._failures = 0

    async def ask(self, sender: str, to: str, body: Any, **options: Unpack[AskOptions]) -> Any:
        """See `AgentContext.ask`."""
        cell = self.here.get(to)
        if cell is None:
            return await self._router.ask(to, body, sender=sender, **options)
        manner = Manner(**options) if options else _PLAIN
        now = self.clock.now()
        envelope = self._router.envelope(to, body, sender, manner, now)
        if envelope.control or envelope.key is not None:  # what others wait for has no end of its own
            try:
                async with asyncio.timeout(manner.timeout_s + GRACE_S):
                    reply = await cell.post(envelope)
            except TimeoutError:
                raise overdue(to, manner.timeout_s) from None
        else:
            reply = await cell.post(envelope)
        if not reply.stale:
            if reply.error is not None:
                raise reply.error
            return reply.value
        if reply.error is not None and not (manner.retry_safe or manner.control):
            raise reply.error
        options["timeout_s"] = manner.timeout_s - (self.clock.now() - now)
        return await self._router.ask(to, body, sender=sender, **options)

    async def tell(self, sender: str, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """See `AgentContext.tell`."""
        lane = self._lanes.get(to) or self._new_lane(to)
        id_ = self._router.new_id()
        if options:
            told = Envelope(to, body, id_, sender=sender, told=True, trace=current_trace.get())
            envelope = self._told(told, options)
        else:
            trace = current_trace.get()
            envelope = _new(Envelope, (to, body, id_, None, 1, False, None, None, sender, None, True, trace))
        if lane.places <= 0 or lane.senders:
            patience_s = min(options.get("timeout_s") or PATIENCE_S, PATIENCE_S)
            if not await lane.turn(patience_s):
                self.add_dead_letter(envelope, f"No place on the way to agent {to!r} within {patience_s:g} s.")
                return
        failures = self._failures
        lane.push(envelope)
        if self._failures != failures:
            await asyncio.sleep(0)  # a sender whom every message fails must not keep the loop to itself
        elif to not in self.here and (route := self.routes.get(to)) is not None:
            link = self.link_to(route.port)
            while link.is_full:
                await link.has_room()

    def _told(self, envelope: Envelope, options: TellOptions) -> Envelope:
        timeout_s, delay_s = options.get("timeout_s"), options.get("delay_s", 0.0)
        now = self.clock.now()
        return envelope._replace(
            priority=int(options.get("priority", Priority.NORMAL)),
            deadline_at=None if timeout_s is None else now + timeout_s,
            not_before=now + delay_s if delay_s > 0 else None,
        )

    def _new_lane(self, to: str) -> Lane:
        if len(self._lanes) >= _MOST_LANES:
            self._lanes = {name: lane for name, lane in self._lanes.items() if not lane.is_idle}
        lane = self._lanes[to] = Lane(to, self)
        return lane

    def settled(self, envelope: Envelope, failure: str | None) -> None:
        """See `Mail.settled`."""
        if failure is not None:
            self._failures += 1
            self.add_dead_letter(envelope, failure)
        elif self.redriven:
            self.redriven.pop(envelope.id, None)

    def lost(self, envelope: Envelope, reply: Reply) -> None:
        """Keep a message that was told from outside any host and came to nothing after it had been taken."""
        if reply.error is not None or reply.stale:
            self.add_dead_letter(envelope, str(reply.error or "The agent was gone before it came to it."))

    def add_dead_letter(self, envelope: Envelope, reason: str) -> None:
        """Keep a message that came to nothing."""
        letter, now = self.redriven.pop(envelope.id, None), self.clock.now()
        if letter is not None:
            self.letters.put_back(letter, reason, now)
        else:
            e = envelope
            self.letters.add(e.to, e.body, reason, now, sender=e.sender, priority=e.priority)

    def redrive(self, which: DeadLetterFilter = ALL_LETTERS) -> int:
        """Send dead letters again; return how many."""
        letters = self.letters.redrive(which)
        for letter in letters:
            id_, to = self._router.new_id(), letter.recipient
            self.redriven[id_] = letter
            lane = self._lanes.get(to) or self._new_lane(to)
            lane.push(Envelope(to, letter.message, id_, priority=letter.priority, sender=letter.sender, told=True))
        return len(letters)

    def close(self) -> None:
        """Drop everything without a word, as the death of this process would."""
        for lane in self._lanes.values():
            lane.close()
        for link in self._links.values():
            link.close()
        self._resolver.close()

    def link_to(self, port: Port) -> Link:
        """Return the link to another host."""
        link = self._links.get(port.address)
        if link is None or link.is_lost:
            link = self._links[port.address] = Link(port, self._ids.new("link"), self.clock)
        return link

    async def resolve(self, to: str, timeout_s: float, gone_epoch: int | None) -> Route:
        """Return where an agent lives; those who ask the same at the same time share the answer."""
        self.routes[to] = await self._resolver.resolve(to, timeout_s, gone_epoch)
        return self.routes[to]

    async def _carry(self, port: Port, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        if method == "resolve":
            return await self.resolve(args[0], timeout_s, args[2])
        return await self.link_to(port).ask(args[0], timeout_s)
