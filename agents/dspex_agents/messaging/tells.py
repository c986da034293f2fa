"""Messages without an answer, sent by the agents of one host: in order, at most once, none lost in silence."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from dspex_agents.agent import AgentContext
from dspex_agents.clock import Clock
from dspex_agents.errors import AgentSystemError
from dspex_agents.messaging.link import Link
from dspex_agents.messaging.message import Answer, Envelope, Reply
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError, Route

WINDOW = 256
"""So many messages of one host to one agent may be on their way or wait there; who would send more waits."""
_PATIENCE_S = 30.0


class Recipient(Protocol):
    """An agent of this host."""

    context: AgentContext

    def take(self, envelope: Envelope, answer: Answer) -> None:
        """Take a message in, and answer it once."""
        ...


class Post(Protocol):
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

    async def resolve(self, to: str, timeout_s: float, gone_epoch: int | None) -> Route:
        """Return where an agent lives."""
        ...


class _Lane:
    """The way to one agent. `queue` is not sent yet, `returned` was sent to an incarnation that was gone.

    `out` messages are on their way or wait there; `places` of the window are taken.
    """

    __slots__ = ("gone", "job", "out", "places", "queue", "returned", "senders", "to")

    def __init__(self, to: str) -> None:
        self.to = to
        self.queue: deque[Envelope] = deque()
        self.returned: list[Envelope] = []
        self.senders: deque[asyncio.Future[None]] = deque()
        self.out = self.places = 0
        self.gone: int | None = None
        self.job: asyncio.Task[None] | None = None

    @property
    def is_direct(self) -> bool:
        """Whether nothing waits that would have to go first."""
        return self.job is None and not self.queue and not self.returned

    def wake(self) -> None:
        """Let the next sender look whether there is a place."""
        while self.senders:
            if not (future := self.senders.popleft()).done():
                future.set_result(None)
                return


class Tells:
    """Sends them off. `on_failed(envelope, reason)` gets each that was not taken, `on_begun(envelope)` each other."""

    def __init__(
        self, post: Post, on_begun: Callable[[Envelope], None], on_failed: Callable[[Envelope, str], None]
    ) -> None:
        self._post, self._on_begun, self._on_failed = post, on_begun, on_failed
        self._lanes: dict[str, _Lane] = {}
        self._failures = 0

    async def place(self, to: str, timeout_s: float | None) -> bool:
        """Wait for a place on the way to an agent, at most `timeout_s` seconds; say whether there is one."""
        lane = self._lanes.get(to)
        if lane is None or (lane.places < WINDOW and not lane.senders):
            return True
        try:
            async with asyncio.timeout(min(timeout_s or _PATIENCE_S, _PATIENCE_S)):
                await self._turn(lane)
                while lane.places >= WINDOW:
                    await self._turn(lane)
        except TimeoutError:
            return False
        return True

    async def _turn(self, lane: _Lane) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.senders.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                lane.wake()  # whoever is next has this turn
            raise

    async def send(self, envelope: Envelope) -> None:
        """Send a message for which there is a place. Waits only where a whole link is congested."""
        failures = self._failures
        self.push(envelope)
        if self._failures != failures:
            await asyncio.sleep(0)  # a sender whom every message fails must not keep the loop to itself
        elif envelope.to not in self._post.here:
            route = self._post.routes.get(envelope.to)
            while route is not None and (link := self._post.link_to(route.port)).is_full:
                await link.has_room()

    def push(self, envelope: Envelope) -> None:
        """Send a message without a look at the window."""
        lane = self._lanes.get(envelope.to)
        if lane is None:
            lane = self._lanes[envelope.to] = _Lane(envelope.to)
        if envelope.not_before is None:
            lane.places += 1
        if not lane.is_direct:
            lane.queue.append(envelope)
        elif not self._dispatch(lane, envelope):
            lane.queue.append(envelope)
            lane.job = asyncio.get_running_loop().create_task(self._work_off(lane))

    def close(self) -> None:
        """Drop everything without a word, as the death of this process would."""
        for lane in self._lanes.values():
            if lane.job is not None:
                lane.job.cancel()

    def _dispatch(self, lane: _Lane, envelope: Envelope) -> bool:
        """Send one message if it is known where to."""
        cell = self._post.here.get(lane.to)
        if cell is not None and (lane.gone is None or cell.context.epoch > lane.gone):
            lane.out += 1
            cell.take(_of(envelope, cell.context.epoch), self._settled)
            return True
        route = self._post.routes.get(lane.to)
        if route is not None and (lane.gone is None or route.epoch > lane.gone):
            lane.out += 1
            self._post.link_to(route.port).send(_of(envelope, route.epoch), self._settled)
            return True
        return False

    async def _work_off(self, lane: _Lane) -> None:
        """Find where the agent lives, and send all that waits for that."""
        patience_ends = self._post.clock.now() + _PATIENCE_S
        try:
            while lane.queue or lane.returned:
                if lane.out:
                    return  # the rest comes back first, for the order's sake
                lane.queue.extendleft(sorted(lane.returned, key=_number, reverse=True))
                lane.returned.clear()
                await self._find(lane, patience_ends)
                while lane.queue and not lane.returned and self._dispatch(lane, lane.queue[0]):
                    lane.queue.popleft()
        finally:
            lane.job = None

    async def _find(self, lane: _Lane, patience_ends: float) -> None:
        now = self._post.clock.now()
        ends = [e.deadline_at for e in lane.queue if e.deadline_at is not None]
        try:
            await self._post.resolve(lane.to, max(0.0, min([patience_ends, *ends]) - now), lane.gone)
        except (TimeoutError, PortUnavailableError) as error:
            now = self._post.clock.now()
            reason = str(error) or f"Agent {lane.to!r} was not found in time."
            kept = [e for e in lane.queue if now < min(patience_ends, e.deadline_at or patience_ends)]
            self._fail(lane, [e for e in lane.queue if e not in kept], reason)
            lane.queue = deque(kept)
        except (AgentSystemError, PortDiedError) as error:
            self._fail(lane, list(lane.queue), str(error))
            lane.queue.clear()

    def _fail(self, lane: _Lane, envelopes: list[Envelope], reason: str) -> None:
        for envelope in envelopes:
            self._failures += 1
            self._leave(lane, envelope)
            self._on_failed(envelope, reason)

    def _settled(self, envelope: Envelope, reply: Reply) -> None:
        lane = self._lanes[envelope.to]
        lane.out -= 1
        if reply.error is not None:
            self._fail(lane, [envelope], str(reply.error))
        elif reply.stale:
            lane.gone = max(lane.gone or 0, envelope.epoch or 0)
            lane.returned.append(envelope)
        else:
            self._leave(lane, envelope)
            self._on_begun(envelope)
        if not lane.out and lane.job is None:
            if not lane.is_direct:
                lane.job = asyncio.get_running_loop().create_task(self._work_off(lane))
            elif not lane.places and not lane.senders:
                self._lanes.pop(lane.to, None)

    def _leave(self, lane: _Lane, envelope: Envelope) -> None:
        if envelope.not_before is None:
            lane.places -= 1
            lane.wake()


def _of(envelope: Envelope, epoch: int) -> Envelope:
    return envelope if envelope.epoch == epoch else envelope._replace(epoch=epoch)


def _number(envelope: Envelope) -> int:
    return int(envelope.id.rpartition(".")[2])
