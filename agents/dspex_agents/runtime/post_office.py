"""The mail of one host: what its agents send, wherever it goes, and the letters that came to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Unpack

from dspex_agents.clock import Clock
from dspex_agents.ids import IdSource
from dspex_agents.messaging.dead_letters import ALL_LETTERS, DeadLetter, DeadLetterFilter, DeadLetters
from dspex_agents.messaging.link import Link
from dspex_agents.messaging.message import AskOptions, Envelope, Priority, Reply, TellOptions
from dspex_agents.messaging.router import Manner, Router
from dspex_agents.messaging.tells import Tells
from dspex_agents.runtime.cell import AgentCell
from dspex_agents.runtime.port import Port, Route

_PLAIN = Manner()


class PostOffice:
    """Sends messages to agents of this host directly, to others over one link for each host."""

    def __init__(self, here: Mapping[str, AgentCell], root: Port, clock: Clock, ids: IdSource) -> None:
        self.here, self.clock = here, clock
        self._ids, self._root = ids, root
        self._router = Router(root, clock, ids, self._carry)
        self.routes = self._router.routes
        self._links: dict[str, Link] = {}
        self._resolving: dict[tuple[str, int | None], asyncio.Task[Route]] = {}
        self.letters = DeadLetters(ids)
        self._redriven: dict[str, DeadLetter] = {}
        self._tells = Tells(self, self._begun, self.add_dead_letter)

    async def ask(self, sender: str, to: str, body: Any, **options: Unpack[AskOptions]) -> Any:
        """See `AgentContext.ask`."""
        cell = self.here.get(to)
        if cell is None:
            return await self._router.ask(to, body, sender=sender, **options)
        manner = Manner(**options) if options else _PLAIN
        now = self.clock.now()
        reply = await self._ask_here(cell, self._router.envelope(to, body, sender, manner, now))
        if not reply.stale:
            if reply.error is not None:
                raise reply.error
            return reply.value
        if reply.error is not None and not (manner.retry_safe or manner.control):
            raise reply.error
        options["timeout_s"] = manner.timeout_s - (self.clock.now() - now)
        return await self._router.ask(to, body, sender=sender, **options)

    async def _ask_here(self, cell: AgentCell, envelope: Envelope) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answer(_: Envelope, reply: Reply) -> None:
            if not future.done():  # whoever asked may have gone
                future.set_result(reply)

        cell.take(envelope, answer)
        if future.done():
            await asyncio.sleep(0)  # an asker who is refused each time must not keep the loop to itself
        return await future

    async def tell(self, sender: str, to: str, body: Any, **options: Unpack[TellOptions]) -> None:
        """See `AgentContext.tell`."""
        timeout_s, delay_s = options.get("timeout_s"), options.get("delay_s", 0.0)
        has_place = await self._tells.place(to, timeout_s)
        now = self.clock.now() if timeout_s is not None or delay_s > 0 else 0.0
        envelope = Envelope(
            to,
            body,
            self._router.new_id(),
            None,
            int(options.get("priority", Priority.NORMAL)),
            deadline_at=None if timeout_s is None else now + timeout_s,
            sender=sender,
            not_before=now + delay_s if delay_s > 0 else None,
            told=True,
        )
        if has_place:
            await self._tells.send(envelope)
        else:
            self.add_dead_letter(envelope, f"The way to agent {to!r} stayed congested: it takes messages too slowly.")

    def lost(self, envelope: Envelope, reply: Reply) -> None:
        """Keep a message that was told from outside any host and came to nothing after it had been taken."""
        if reply.error is not None or reply.stale:
            self.add_dead_letter(envelope, str(reply.error or "The agent was gone before it came to it."))

    def add_dead_letter(self, envelope: Envelope, reason: str) -> None:
        """Keep a message that came to nothing."""
        letter, now = self._redriven.pop(envelope.id, None), self.clock.now()
        if letter is not None:
            self.letters.put_back(letter, reason, now)
        else:
            e = envelope
            self.letters.add(e.to, e.body, reason, now, sender=e.sender, priority=e.priority)

    def redrive(self, which: DeadLetterFilter = ALL_LETTERS) -> int:
        """Send dead letters again; return how many."""
        letters = self.letters.redrive(which)
        for letter in letters:
            id_ = self._router.new_id()
            self._redriven[id_] = letter
            sender, priority = letter.sender, letter.priority
            self._tells.push(Envelope(letter.recipient, letter.message, id_, None, priority, sender=sender, told=True))
        return len(letters)

    def close(self) -> None:
        """Drop everything without a word, as the death of this process would."""
        self._tells.close()
        for link in self._links.values():
            link.close()
        for resolving in self._resolving.values():
            resolving.cancel()

    def link_to(self, port: Port) -> Link:
        """Return the link to another host."""
        link = self._links.get(port.address)
        if link is None or link.is_lost:
            link = self._links[port.address] = Link(port, self._ids.new("link"), self.clock)
        return link

    async def resolve(self, to: str, timeout_s: float, gone_epoch: int | None) -> Route:
        """Return where an agent lives; those who ask the same at the same time share the answer."""
        key = (to, gone_epoch)
        shared = self._resolving.get(key)
        if shared is None:
            loop = asyncio.get_running_loop()
            shared = self._resolving[key] = loop.create_task(
                self._root.call("resolve", to, timeout_s, gone_epoch, timeout_s=timeout_s)
            )
            shared.add_done_callback(lambda task: self._resolved(key, task))
        await asyncio.wait((shared,), timeout=timeout_s)
        if not shared.done():
            raise TimeoutError
        self.routes[to] = shared.result()
        return self.routes[to]

    def _resolved(self, key: tuple[str, int | None], task: asyncio.Task[Route]) -> None:
        self._resolving.pop(key, None)
        if not task.cancelled():
            task.exception()  # those who asked may have gone

    def _begun(self, envelope: Envelope) -> None:
        if self._redriven:
            self._redriven.pop(envelope.id, None)

    async def _carry(self, port: Port, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        if method == "resolve":
            return await self.resolve(args[0], timeout_s, args[2])
        return [await self.link_to(port).ask(args[0][0], timeout_s)]
