"""Messages without an answer, sent by the agents of one host: in order, at most once, none lost in silence."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from dspex_agents.clock import Clock
from dspex_agents.errors import AgentSystemError
from dspex_agents.messaging.dead_letters import DeadLetter
from dspex_agents.messaging.link import Link
from dspex_agents.messaging.message import BEGUN, Answer, Envelope, Reply
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError, Route

WINDOW = 500
"""So many messages of one host to one agent may be on their way or wait there; who would send more waits."""
_ENOUGH = WINDOW // 2  # who waits is woken when there is a place for many
PATIENCE_S = 30.0
"""How long a message waits for a place, or for its agent to be found."""


class Recipient(Protocol):
    """An agent of this host."""

    epoch: int

    def take(self, envelope: Envelope, answer: Answer) -> None:
        """Take a message in, and answer it once."""
        ...


class Mail(Protocol):
    """What else a host has for its mail."""

    clock: Clock

    @property
    def here(self) -> Mapping[str, Recipient]:
        """The agents of this host."""
        ...

    @property
    def routes(self) -> Mapping[str, Route]:
        """Where the others were last."""
        ...

    def link_to(self, port: Port) -> Link:
        """Return the link to another host."""
        ...

    @property
    def redriven(self) -> Mapping[str, DeadLetter]:
        """The dead letters that are under way again, by the id of the message."""
        ...

    async def resolve(self, to: str, timeout_s: float, gone_epoch: int | None) -> Route:
        """Return where an agent lives."""
        ...

    def settled(self, envelope: Envelope, failure: str | None) -> None:
        """Take note that the agent has begun with a message, or why it was not taken."""
        ...


class Lane:
    """The way of a host's tells to one agent. `places` more may be sent (one that is delayed on purpose takes none).

    `_out` messages are on their way or wait there. `_queue` is not sent yet, `_returned` was sent to an incarnation
    that is gone; while there are any, the lane is held: what is new waits behind them.
    """

    __slots__ = (
        "_gone",
        "_here",
        "_is_held",
        "_job",
        "_mail",
        "_out",
        "_queue",
        "_returned",
        "answer",
        "places",
        "senders",
        "to",
    )

    def __init__(self, to: str, mail: Mail) -> None:
        self.to, self._mail, self._here = to, mail, mail.here
        self.places, self._out = WINDOW, 0
        self.senders: deque[asyncio.Future[None]] = deque()
        self.answer = self._settle  # bound once: it goes with every message
        self._is_held = False
        self._queue: deque[Envelope] = deque()
        self._returned: list[Envelope] = []
        self._gone: int | None = None
        self._job: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way, and nobody waits."""
        return not (self._out or self._is_held or self.senders)

    async def turn(self, timeout_s: float) -> bool:
        """Wait in line until there is a place; say whether there was one within `timeout_s` seconds."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._wait_in_line()
                while self.places <= 0:
                    await self._wait_in_line()
        except TimeoutError:
            return False
        return True

    async def _wait_in_line(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.senders.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._wake()  # whoever is next has this turn
            raise

    def push(self, envelope: Envelope) -> None:
        """Send a message, whether there is a place for it or not."""
        if envelope.not_before is None:
            self.places -= 1
        if self._is_held or not self._dispatch(envelope):
            self._queue.append(envelope)
            self._hold()

    def close(self) -> None:
        """Drop everything without a word, as the death of this process would."""
        if self._job is not None:
            self._job.cancel()

    def _dispatch(self, envelope: Envelope) -> bool:
        """Send one message if it is known where to."""
        cell = self._here.get(self.to)
        if cell is not None and (self._gone is None or cell.epoch > self._gone):
            self._out += 1
            cell.take(envelope, self.answer)
            return True
        route = self._mail.routes.get(self.to)
        if route is not None and (self._gone is None or route.epoch > self._gone):
            self._out += 1
            self._mail.link_to(route.port).send(envelope._replace(epoch=route.epoch), self.answer)
            return True
        return False

    def _settle(self, envelope: Envelope, reply: Reply) -> None:
        self._out -= 1
        if reply.stale:
            self._note_gone(envelope)
        if reply.stale and reply.error is None:
            self._returned.append(envelope._replace(epoch=None))
            self._is_held = True
        else:
            if envelope.not_before is None:
                self.places += 1
            if reply is not BEGUN or self._mail.redriven:
                self._mail.settled(envelope, None if reply.error is None else str(reply.error))
        if self._is_held:
            self._hold()
        if self.senders and self.places >= _ENOUGH:
            self._wake()

    def _note_gone(self, envelope: Envelope) -> None:
        here = self._here.get(self.to)
        epoch = envelope.epoch or (0 if here is None else here.epoch)
        self._gone = max(self._gone or 0, epoch)

    def _wake(self) -> None:
        while self.senders:
            if not (future := self.senders.popleft()).done():
                future.set_result(None)
                return

    def _hold(self) -> None:
        """Go and find the agent, once nothing is on its way to where it was."""
        self._is_held = True
        if self._job is None and not self._out:
            self._job = asyncio.get_running_loop().create_task(self._work_off())

    async def _work_off(self) -> None:
        """Find where the agent lives, and send all that waits for that."""
        patience_ends = self._mail.clock.now() + PATIENCE_S
        try:
            while self._queue or self._returned:
                if self._out:
                    return  # the rest comes back first, for the order's sake
                self._queue.extendleft(sorted(self._returned, key=_number, reverse=True))
                self._returned.clear()
                await self._find(patience_ends)
                while self._queue and not self._returned and self._dispatch(self._queue[0]):
                    self._queue.popleft()
            self._is_held = False
        finally:
            self._job = None

    async def _find(self, patience_ends: float) -> None:
        clock = self._mail.clock
        ends = [patience_ends, *(e.deadline_at for e in self._queue if e.deadline_at is not None)]
        try:
            await self._mail.resolve(self.to, max(0.0, min(ends) - clock.now()), self._gone)
        except (TimeoutError, PortUnavailableError):
            now, waiting, self._queue = clock.now(), self._queue, deque()
            for envelope in waiting:
                if now < min(patience_ends, envelope.deadline_at or patience_ends):
                    self._queue.append(envelope)
                else:
                    self._fail(envelope, f"Agent {self.to!r} was not found in time.")
        except (AgentSystemError, PortDiedError) as error:
            waiting, self._queue = self._queue, deque()
            for envelope in waiting:
                self._fail(envelope, str(error))

    def _fail(self, envelope: Envelope, reason: str) -> None:
        if envelope.not_before is None:
            self.places += 1
        self._mail.settled(envelope, reason)
        self._wake()


def _number(envelope: Envelope) -> int:
    return int(envelope.id.rpartition(".")[2])
