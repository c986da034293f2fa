"""The way from one host to another: single messages by a call each, many of them in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from dspex_agents.clock import Clock
from dspex_agents.errors import AgentFailedError, DeadlineExceededError, OutcomeUnknownError
from dspex_agents.messaging.message import BEGUN, Answer, Envelope, Parcel, Reply
from dspex_agents.runtime.port import Port, PortDiedError, PortUnavailableError

_log = logging.getLogger(__name__)
_FEW = 2  # so many go by a call of their own
_MOST_IN_BATCH = 1000
_MOST_WAITING = 10_000
_CALL_S = 60.0
_GRACE_S = 0.5  # the agent answers its own deadline first; only then does this side's clock speak
_SWEEP_S = 0.25
_LOST = (PortDiedError, PortUnavailableError, TimeoutError)


class Link:
    """Carries messages to one other host, in order.

    A lone question goes by one `deliver` call, whose return is the answer. Under load, messages go by one `accept`
    call at a time; later answers come through one pending `replies` call, kept only while something is outstanding.
    When the other process dies, what was sent is answered as of unknown outcome, and what was not as stale.
    """

    def __init__(self, port: Port, link_id: str, clock: Clock) -> None:
        self.port, self._id, self._clock = port, link_id, clock
        self.is_lost = False
        self.late = 0
        self._alone = 0
        self._waiting: deque[Envelope] = deque()
        self._outstanding: dict[str, tuple[Envelope, Answer]] = {}
        self._room: deque[asyncio.Future[None]] = deque()
        self._flight: asyncio.Task[None] | None = None
        self._poll: asyncio.Task[None] | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def is_full(self) -> bool:
        """Whether whoever can wait should."""
        return len(self._waiting) >= _MOST_WAITING

    async def ask(self, envelope: Envelope, timeout_s: float) -> Reply:
        """Send one question and return the reply. Raises what the port raises."""
        if self._alone + len(self._outstanding) < _FEW and not self._waiting:
            self._alone += 1
            try:
                reply: Reply = await self.port.call("deliver", envelope, timeout_s=timeout_s)
            finally:
                self._alone -= 1
            return reply
        while self.is_full:
            await self.has_room()
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answer(_: Envelope, reply: Reply) -> None:
            if not future.done():  # whoever asked may have gone
                future.set_result(reply)

        self.send(envelope, answer)
        return await future

    async def has_room(self) -> None:
        """Return when a batch has left, or the link is lost."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(future)
        await future

    def send(self, envelope: Envelope, answer: Answer) -> None:
        """Let a message go with the next batch."""
        if self.is_lost:
            answer(envelope, Reply(envelope.id, stale=True))
            return
        self._outstanding[envelope.id] = envelope, answer
        self._waiting.append(envelope)
        loop = asyncio.get_running_loop()
        if self._flight is None:
            self._flight = loop.create_task(self._fly())
        if self._sweep is None:
            self._sweep = loop.call_later(_SWEEP_S, self._look_for_overdue)

    def close(self) -> None:
        """Drop everything without a word, as the death of this process would."""
        self.is_lost = True
        for job in (self._flight, self._poll, self._sweep):
            if job is not None:
                job.cancel()

    async def _fly(self) -> None:
        """Send batch after batch while there is something to send."""
        try:
            while self._waiting and not self.is_lost:
                batch = [self._waiting.popleft() for _ in range(min(_MOST_IN_BATCH, len(self._waiting)))]
                try:
                    await self._send_off(batch)
                except _LOST as error:
                    self._lose(error)
                while self._room:
                    if not (future := self._room.popleft()).done():
                        future.set_result(None)
        finally:
            self._flight = None
        if self._outstanding and self._poll is None and not self.is_lost:
            self._poll = asyncio.get_running_loop().create_task(self._fetch())

    async def _send_off(self, batch: list[Envelope]) -> None:
        try:
            parcel: Parcel = await self.port.call("accept", self._id, tuple(map(tuple, batch)), timeout_s=_CALL_S)
        except _LOST:
            raise
        except Exception as error:  # noqa: BLE001 - pickling a stranger's data may raise anything
            if len(batch) > 1:  # one of them cannot travel: find out which
                for envelope in batch:
                    await self._send_off([envelope])
                return
            (envelope,) = batch
            text = f"The message to agent {envelope.to!r} cannot travel: {type(error).__name__}: {error}"
            self._settle(Reply(envelope.id, error=AgentFailedError(text, type(error).__name__, str(error))))
        else:
            self._unpack(parcel)

    async def _fetch(self) -> None:
        """Fetch later answers while there is something outstanding that no flight brings."""
        try:
            while self._outstanding and self._flight is None and not self.is_lost:
                try:
                    self._unpack(await self.port.call("replies", self._id, timeout_s=_CALL_S))
                except _LOST as error:
                    self._lose(error)
        finally:
            self._poll = None

    def _unpack(self, parcel: Parcel) -> None:
        outstanding = self._outstanding
        for id_ in parcel[0]:
            if (known := outstanding.pop(id_, None)) is not None:
                known[1](known[0], BEGUN)
        for fields in parcel[1]:
            self._settle(Reply._make(fields))

    def _settle(self, reply: Reply) -> None:
        known = self._outstanding.pop(reply.id, None)
        if known is None:
            self.late += 1
            _log.debug("a reply to message %s from %s came too late", reply.id, self.port.address)
        else:
            known[1](known[0], reply)

    def _lose(self, error: Exception) -> None:
        self.is_lost = True
        unsent = {envelope.id for envelope in self._waiting}
        everything, self._outstanding = self._outstanding, {}
        self._waiting.clear()
        for id_, (envelope, answer) in everything.items():
            if id_ in unsent:
                answer(envelope, Reply(id_, stale=True))
                continue
            text = f"The process of agent {envelope.to!r} died with the message in flight; it may have been handled."
            answer(envelope, Reply(id_, error=OutcomeUnknownError(text), stale=True))
        _log.debug("the link to %s is lost: %s", self.port.address, error)

    def _look_for_overdue(self) -> None:
        self._sweep = None
        limit = self._clock.now() - _GRACE_S
        for envelope, _ in list(self._outstanding.values()):
            if envelope.deadline_at is not None and envelope.deadline_at < limit:
                text = f"No answer from agent {envelope.to!r} within its time."
                self._settle(Reply(envelope.id, error=DeadlineExceededError(text)))
        if self._outstanding:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._look_for_overdue)
