"""`SignalBusAgent`: takes signals, keeps them in the database, and brings each to every agent that subscribed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from dspex_agents.agent import Agent, AgentExit
from dspex_agents.database import Database
from dspex_agents.errors import MessageError, SpecError, SystemStoppedError, UnknownAgentError
from dspex_agents.messaging.message import Priority
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_delivery import Delivery, DeliveryQueue, Subscription
from dspex_agents.signals.signal_log import LoggedSignal, SignalLog
from dspex_agents.signals.signal_messages import (
    DeliverDue,
    DiscardDeadSignals,
    GetDeadSignals,
    PruneLog,
    Publish,
    PublishReceipt,
    RedriveDeadSignals,
    Replay,
    ReplayPage,
    SignalDelivery,
    Subscribe,
    Unsubscribe,
)
from dspex_agents.signals.signal_router import SignalRoute, SignalRouter, parse_pattern

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_MAX_PAGE = 10_000
_MAX_REDRIVE = 1000
_MAX_REASON = 1000
_MAX_SLEEP_S = 30.0  # how late the bus may notice that the wall clock was moved


@dataclass(frozen=True, slots=True)
class _Fail:
    """To itself: end, the reason is noted."""


class SignalBusAgent(Agent):
    """A durable bus: at least once to each subscription, in the order of the log but for what is delivered again.

    All of it survives a restart of the bus: subscriptions, open deliveries with their attempts, dead letters. A
    signal is never dropped: it is refused to its publisher, or stored and then acknowledged, dead, or pending.
    Every message but `Publish` is taken as a control message too, so that a full bus can still be looked at.
    """

    capabilities = frozenset({"signal-bus"})

    def __init__(self, database: Database, *, concurrency: int = 16, mailbox_size: int = 1000, seed: int = 0) -> None:
        """`concurrency` publishers are served at once; `seed` is that of the jitter of redelivery."""
        self.concurrency, self.mailbox_size = concurrency, mailbox_size
        self._database = database
        self._rng = random.Random(seed)  # noqa: S311 - jitter of delays, not secrets
        self._queues: dict[str, DeliveryQueue] = {}
        self._router: SignalRouter[DeliveryQueue] = SignalRouter()
        self._dead: dict[str, int] = {}
        self._published = self._duplicates = self._unrouted = self._last_sequence = self._blocked = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._broken: str | None = None
        self._is_closed = False

    # life ---------------------------------------------------------------------------------------------------------
    async def on_start(self) -> None:
        """Open the log and go on with what was pending. Raises StoreError."""
        # one thread: the log's calls keep their order, and SQLite has one writer anyway
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"signals-{self.context.name}")
        self._changed, self._wake = asyncio.Condition(), asyncio.Event()
        try:
            self._log = await self._store(lambda: SignalLog(self._database, self.context.name))
            for subscription in await self._store(self._log.subscriptions):
                await self._load(subscription)
            self._dead = await self._store(self._log.count_dead)
            self._last_sequence = await self._store(self._log.last_sequence)
        except BaseException:
            self._release()
            raise
        self._rebuild_router()
        self._pump_all()
        self._spawn(self._redeliver_for_ever())

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the same end for every reason
        """Leave what is pending to the next incarnation."""
        self._release()

    async def on_message(self, body: Any) -> Any:
        """Publish, or manage the bus; the messages' classes say how each is answered."""
        self._end_if_broken()
        if isinstance(body, Publish):
            return await self._publish(body.signal)
        return await self.on_control(body)

    async def on_control(self, body: Any) -> Any:  # noqa: PLR0911 - a table: one line, one return
        """Answer every message but `Publish`."""
        match body:
            case Subscribe():
                return await self._whole(self._subscribe(body))
            case Unsubscribe(subscription):
                return await self._whole(self._unsubscribe(subscription))
            case Replay():
                return await self._replay(body)
            case GetDeadSignals(subscription, limit):
                return await self._store(lambda: self._log.dead_letters(subscription, limit))
            case RedriveDeadSignals(subscription, sequences):
                return await self._whole(self._redrive(subscription, sequences))
            case DiscardDeadSignals(subscription, sequences):
                return await self._whole(self._discard(subscription, sequences))
            case PruneLog(before):
                return await self._store(lambda: self._log.prune(before))
            case DeliverDue():
                return self._pump_all()
            case _:
                return await super().on_control(body)

    def details(self) -> Mapping[str, Any]:
        """Return counts, dead letters by subscription, and each subscription's state: active, failing or gone."""
        return {
            "published": self._published,
            "duplicates": self._duplicates,
            "unrouted": self._unrouted,
            "blocked_publishers": self._blocked,
            "last_sequence": self._last_sequence,
            "dead_letters": dict(self._dead),
            "gone": sorted({q.subscription.agent for q in self._queues.values() if q.is_gone}),
            "subscriptions": {id_: queue.details() for id_, queue in self._queues.items()},
        }

    # publishing ---------------------------------------------------------------------------------------------------
    async def _publish(self, signal: Signal) -> PublishReceipt:
        while True:
            async with self._changed:
                self._blocked += 1
                try:
                    await self._changed.wait_for(lambda: self._broken is not None or self._has_room(signal))
                finally:
                    self._blocked -= 1
            self._end_if_broken()
            if (receipt := await self._whole(self._accept(signal))) is not None:
                return receipt

    def _has_room(self, signal: Signal) -> bool:
        queues = (route.target for route in self._router.match(signal.type))
        return not any(queue.is_full and queue.subscription.when_full == "block" for queue in queues)

    async def _accept(self, signal: Signal) -> PublishReceipt | None:
        """Store and queue the signal; None when another one took the room in the meantime."""
        async with self._changed:
            if not self._has_room(signal):
                return None
            queues = [route.target for route in self._router.match(signal.type)]
            full = [queue for queue in queues if queue.is_full]
            to, dead = _ids(queue for queue in queues if not queue.is_full), _ids(full)
            now = self.context.clock.now()
            sequence, is_new = await self._store(lambda: self._log.append(signal, to, dead, now))
            if not is_new:
                self._duplicates += 1
                return PublishReceipt(sequence, 0, duplicate=True)
            self._published += 1
            self._unrouted += not queues
            self._last_sequence = sequence
            for queue in full:
                self._count_dead(queue.subscription.id)
            for id_ in to:
                self._queues[id_].add(Delivery(sequence, signal), now)
                self._pump(self._queues[id_])
            return PublishReceipt(sequence, len(queues))

    # delivering ---------------------------------------------------------------------------------------------------
    async def _redeliver_for_ever(self) -> None:
        while True:
            self._wake.clear()
            self._pump_all()
            due = [at for queue in self._queues.values() if (at := queue.next_due()) is not None]
            wait_s = min(_MAX_SLEEP_S, min(due) - self.context.clock.now()) if due else _MAX_SLEEP_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait_s)

    def _pump_all(self) -> int:
        return sum(self._pump(queue) for queue in self._queues.values())

    def _pump(self, queue: DeliveryQueue) -> int:
        if self._is_closed or self._queues.get(queue.subscription.id) is not queue:
            return 0
        deliveries = queue.take(self.context.clock.now())
        for delivery in deliveries:
            self._spawn(self._deliver(queue, delivery))
        return len(deliveries)

    async def _deliver(self, queue: DeliveryQueue, delivery: Delivery) -> None:
        wanted = queue.subscription
        body = SignalDelivery(delivery.signal, wanted.id, delivery.sequence, delivery.attempts + 1)
        failure: Exception | None = None
        try:
            await self.context.ask(wanted.agent, body, timeout_s=wanted.ack_timeout_s)
        except (MessageError, SystemStoppedError) as error:
            failure = error
        await self._settle(queue, delivery, failure)

    async def _settle(self, queue: DeliveryQueue, delivery: Delivery, failure: Exception | None) -> None:
        id_, now = queue.subscription.id, self.context.clock.now()
        if failure is None:
            await self._store(lambda: self._log.acknowledge(id_, delivery.sequence))
            queue.acknowledge(delivery)
        else:
            reason = f"{type(failure).__name__}: {failure}"[:_MAX_REASON]
            gone = isinstance(failure, (UnknownAgentError, SystemStoppedError))
            again = None if gone else queue.retried(delivery, now)
            if again is not None:
                await self._store(lambda: self._log.retry_later(id_, again, reason))
            else:
                await self._store(lambda: self._log.bury(id_, delivery, reason, now))
                self._count_dead(id_)
                _logger.warning("signal %d is a dead letter of %r: %s", delivery.sequence, id_, reason)
            queue.fail(delivery, again, reason, now, gone=gone)
        if self._queues.get(id_) is not queue:  # unsubscribed meanwhile: what was open is counted as dead already
            self._dead = await self._store(self._log.count_dead)
        async with self._changed:
            self._changed.notify_all()
        self._wake.set()
        self._pump(queue)

    # subscriptions ------------------------------------------------------------------------------------------------
    async def _load(self, subscription: Subscription) -> None:
        queue = self._queues[subscription.id] = DeliveryQueue(subscription, self._rng)
        for delivery in await self._store(lambda: self._log.pending(subscription.id)):
            queue.add(delivery, self.context.clock.now())

    async def _subscribe(self, body: Subscribe) -> str:
        wanted, since = body.subscription, body.since
        async with self._changed:
            queue = self._queues.get(wanted.id) or DeliveryQueue(wanted, self._rng)
            room = wanted.max_pending - len(queue)
            history: list[LoggedSignal] = []
            if since is not None:
                history, _ = await self._store(lambda: self._log.read(wanted.pattern, since, 0.0, max(0, room) + 1))
                if len(history) > room:
                    raise SpecError(
                        f"subscription {wanted.id!r}: more than {room} signals since {since} fit {wanted.pattern!r}, "
                        f"and max_pending is {wanted.max_pending}. Raise it, or page through them with Replay."
                    )
            added = await self._store(lambda: self._log.subscribe(wanted, [entry.sequence for entry in history]))
            queue.subscription = wanted
            self._queues[wanted.id] = queue
            for entry in history:
                if entry.sequence in added:
                    queue.add(Delivery(entry.sequence, entry.signal), self.context.clock.now())
            self._rebuild_router()
            self._pump(queue)
            self._changed.notify_all()
        return wanted.id

    async def _unsubscribe(self, id_: str) -> int:
        async with self._changed:
            self._queue(id_)
            left = await self._store(lambda: self._log.unsubscribe(id_, self.context.clock.now()))
            del self._queues[id_]
            self._rebuild_router()
            self._dead = await self._store(self._log.count_dead)
            self._changed.notify_all()
        return left

    def _rebuild_router(self) -> None:
        wanted = [(queue.subscription, queue) for _, queue in sorted(self._queues.items())]
        self._router = SignalRouter(SignalRoute(s.pattern, queue, s.priority) for s, queue in wanted)

    def _queue(self, id_: str) -> DeliveryQueue:
        if id_ not in self._queues:
            raise SpecError(f"No subscription {id_!r}. There are: {', '.join(sorted(self._queues)) or 'none'}.")
        return self._queues[id_]

    # log and dead letters -----------------------------------------------------------------------------------------
    async def _replay(self, body: Replay) -> ReplayPage:
        parse_pattern(body.pattern)
        if not 1 <= body.limit <= _MAX_PAGE:
            raise SpecError(f"Replay: limit must be from 1 to {_MAX_PAGE}, got {body.limit}.")
        signals, next_since = await self._store(
            lambda: self._log.read(body.pattern, body.since, body.since_time, body.limit)
        )
        return ReplayPage(tuple(signals), next_since)

    async def _redrive(self, id_: str, sequences: Sequence[int] | None) -> int:
        async with self._changed:
            queue = self._queue(id_)
            room = min(_MAX_REDRIVE, queue.subscription.max_pending - len(queue))
            letters = await self._store(lambda: self._log.dead_letters(id_, max(0, room), sequences))
            await self._store(lambda: self._log.redrive(id_, [letter.sequence for letter in letters]))
            for letter in letters:
                queue.add(Delivery(letter.sequence, letter.signal), self.context.clock.now())
            self._dead = await self._store(self._log.count_dead)
            self._pump(queue)
        return len(letters)

    async def _discard(self, id_: str, sequences: Sequence[int] | None) -> int:
        count = await self._store(lambda: self._log.discard(id_, sequences))
        self._dead = await self._store(self._log.count_dead)
        return count

    def _count_dead(self, id_: str) -> None:
        self._dead[id_] = self._dead.get(id_, 0) + 1

    # work beside the messages -------------------------------------------------------------------------------------
    async def _store(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _whole(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do the work to its end, even if whoever asked for it gives up: log and memory must not part."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and self._broken is None:
            _logger.error("signal bus %r cannot go on", self.context.name, exc_info=error)
            self._broken = f"{type(error).__name__}: {error}"
            self._spawn(self._announce_end())

    async def _announce_end(self) -> None:
        """End through a message to itself: only there does a supervisor get to know the reason."""
        async with self._changed:
            self._changed.notify_all()
        with contextlib.suppress(MessageError, SystemStoppedError):
            await self.context.ask(self.context.name, _Fail(), priority=Priority.HIGH)

    def _end_if_broken(self) -> None:
        if self._broken is not None:
            self._release()
            raise AgentExit(self._broken)

    def _release(self) -> None:
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(RuntimeError):  # a second release
            self._thread.submit(self._database.close)
        self._thread.shutdown(wait=False)


def _ids(queues: Iterable[DeliveryQueue]) -> list[str]:
    return [queue.subscription.id for queue in queues]
