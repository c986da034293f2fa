"""`SensorAgent`: a supervised source of signals that polls by the clock, and `IntervalSensor`, the plainest one."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from dspex_agents.agent import Agent, AgentExit
from dspex_agents.errors import MessageError, SpecError, SystemStoppedError
from dspex_agents.ids import IdSource, RandomIds
from dspex_agents.messaging.message import Priority
from dspex_agents.signals.signal import Signal
from dspex_agents.signals.signal_messages import Publish, PublishReceipt

_log = logging.getLogger(__name__)
_MAX_SLEEP_S = 30.0  # how late a sensor may notice that the wall clock was moved
_SLACK_S = 5.0
_MAX_MISSED = 1000  # counted at most at once: a clock that jumps by years must not keep us counting
Read: TypeAlias = Callable[[], Any | Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class PollNow:
    """Poll at once, due or not; answered with the number of signals published."""


@dataclass(frozen=True, slots=True)
class PollDue:
    """Poll if it is due by the clock; answered with the number of signals published, None if it was not due.

    The sensor sends itself this one. `epoch` is the incarnation whose timer it is; another one raises ends that timer.
    """

    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class _TimerFailed:
    """To itself: the timer broke."""

    reason: str


class SensorAgent(Agent):
    """Base class of sensors: `poll` looks, `next_after` says when to look again, the signals go to agent `bus`.

    A sensor that is deaf must not look healthy: after `max_failures` polls in a row that raised, took longer than
    `poll_timeout_s`, or could not be published, it ends abnormally, and its supervisor decides. Signals that could not
    be published are kept and go first the next time. Polls that were missed are counted, not made up for.
    """

    capabilities = frozenset({"sensor"})

    def __init__(
        self,
        bus: str,
        *,
        source: str | None = None,
        max_failures: int = 3,
        poll_timeout_s: float = 30.0,
        publish_timeout_s: float = 10.0,
        ids: IdSource | None = None,
    ) -> None:
        """`source` is that of the signals, `/sensors/<name of the agent>` unless given. Raises SpecError."""
        if max_failures < 1:
            raise SpecError(f"{type(self).__name__}: max_failures must be at least 1, got {max_failures}.")
        check_seconds(self, "poll_timeout_s", poll_timeout_s)
        check_seconds(self, "publish_timeout_s", publish_timeout_s)
        self.bus, self._source, self._max_failures = bus, source, max_failures
        self._poll_timeout_s, self._publish_timeout_s = poll_timeout_s, publish_timeout_s
        self._ids = ids or RandomIds()
        self._outbox: list[Signal] = []
        self._next_at: float | None = None
        self._polls = self._published = self._missed = self._failures = 0
        self._last_poll_at: float | None = None
        self._last_error = ""
        self._timer: asyncio.Task[None] | None = None

    async def poll(self) -> Sequence[Signal]:
        """Look, and return what there is to tell. Called by the timer, one at a time; an exception is a failure."""
        raise NotImplementedError

    def next_after(self, now: float) -> float | None:
        """Return the time of the next poll after `now` (seconds since the epoch), or None for never."""
        raise NotImplementedError

    def signal(self, type_: str, data: Any = None, **attributes: Any) -> Signal:
        """Return a signal of this sensor and moment; `attributes` are those of `Signal.create`."""
        source = self._source or f"/sensors/{self.context.name}"
        return Signal.create(type_, source, data, ids=self._ids, clock=self.context.clock, **attributes)

    async def publish(self, signal: Signal) -> PublishReceipt:
        """Hand a signal to the bus and return its receipt. Raises the MessageError of the bus."""
        receipt: PublishReceipt = await self.context.ask(
            self.bus, Publish(signal), timeout_s=self._publish_timeout_s, retry_safe=True
        )
        self._published += 1
        return receipt

    # life ---------------------------------------------------------------------------------------------------------
    async def on_start(self) -> None:
        """Set the timer."""
        self._next_at = self.next_after(self.context.clock.now())
        if self._next_at is not None:
            self._timer = asyncio.get_running_loop().create_task(self._run_timer())

    async def on_stop(self, reason: str) -> None:  # noqa: ARG002 - the timer ends in any case
        """Stop the timer."""
        self._stop_timer()

    async def on_message(self, body: Any) -> Any:
        """Poll."""
        match body:
            case PollNow():
                return await self._poll_once()
            case PollDue(epoch):
                if epoch not in {None, self.context.epoch}:
                    raise SpecError(f"sensor {self.context.name!r} is no longer incarnation {epoch}.")
                return await self._poll_if_due()
            case _TimerFailed(reason):
                return self._end(reason)
            case _:
                return await super().on_message(body)

    def details(self) -> Mapping[str, Any]:
        """Return polls, signals published and waiting, missed polls, and failures in a row with the last error."""
        return {
            "bus": self.bus,
            "polls": self._polls,
            "published": self._published,
            "unpublished": len(self._outbox),
            "missed": self._missed,
            "failures": self._failures,
            "last_error": self._last_error,
            "last_poll_at": self._last_poll_at,
            "next_poll_at": self._next_at,
        }

    # polling ------------------------------------------------------------------------------------------------------
    async def _poll_if_due(self) -> int | None:
        now = self.context.clock.now()
        if self._next_at is None or now < self._next_at:
            return None
        try:
            self._next_at = self._following(self._next_at, now)
        except Exception as error:  # noqa: BLE001 - whatever it is: without a next time the sensor would be deaf
            self._end(f"its schedule broke: {type(error).__name__}: {error}")
        return await self._poll_once()

    def _following(self, due: float, now: float) -> float | None:
        """Return the first time after `now` in the schedule that has `due`, and count those missed between."""
        following = self.next_after(due)
        for _ in range(_MAX_MISSED):
            if following is None or following > now:
                return following
            self._missed += 1
            following = self.next_after(following)
        return self.next_after(now)

    async def _poll_once(self) -> int:
        self._polls += 1
        self._last_poll_at = self.context.clock.now()
        try:
            if not self._outbox:  # what could not be published goes first; new signals would only pile up behind it
                async with asyncio.timeout(self._poll_timeout_s):
                    self._outbox = list(await self.poll())
            count = await self._empty_outbox()
        except AgentExit:
            self._stop_timer()
            raise
        except Exception as error:  # noqa: BLE001 - whatever a source raises is a failed poll
            return self._failed(error)
        self._failures, self._last_error = 0, ""
        return count

    async def _empty_outbox(self) -> int:
        count = 0
        while self._outbox:
            await self.publish(self._outbox[0])
            self._outbox.pop(0)
            count += 1
        return count

    def _failed(self, error: Exception) -> int:
        self._failures += 1
        text = str(error) or f"not done within {self._poll_timeout_s:g} s"
        self._last_error = f"{type(error).__name__}: {text}"
        _log.warning("poll %d of sensor %r failed: %s", self._polls, self.context.name, self._last_error)
        if self._failures >= self._max_failures:
            lost = f"; {len(self._outbox)} signals were not published" if self._outbox else ""
            self._end(f"{self._failures} polls in a row failed, the last with {self._last_error}{lost}")
        return 0

    def _end(self, reason: str) -> NoReturn:
        self._stop_timer()
        raise AgentExit(reason)

    # the timer ----------------------------------------------------------------------------------------------------
    async def _run_timer(self) -> None:
        """Wait and send the polls as messages: they show in the figures, a pause holds them, and they may end us."""
        try:
            while (due := self._next_at) is not None:
                if (wait_s := due - self.context.clock.now()) > 0:
                    await asyncio.sleep(min(_MAX_SLEEP_S, wait_s))
                elif not await self._send_poll():
                    return
        except Exception as error:  # noqa: BLE001 - a timer that dies silently would leave a deaf sensor
            reason = f"its timer broke: {type(error).__name__}: {error}"
            with contextlib.suppress(MessageError, SystemStoppedError):
                await self.context.ask(self.context.name, _TimerFailed(reason), priority=Priority.HIGH)

    async def _send_poll(self) -> bool:
        timeout_s = self._poll_timeout_s + self._publish_timeout_s + _SLACK_S
        try:
            await self.context.ask(self.context.name, PollDue(self.context.epoch), timeout_s=timeout_s)
        except SystemStoppedError:
            return False
        except MessageError as error:
            if isinstance(getattr(error, "cause", None), SpecError):
                return False  # another incarnation lives under this name and has a timer of its own
            _log.warning("sensor %r did not take its poll: %s", self.context.name, error)
            await asyncio.sleep(1.0)  # full or paused: its mailbox is not to be flooded
        return True

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class IntervalSensor(SensorAgent):
    """Publishes what `read` returns every `interval_s` seconds; None says nothing. Without `read`: a heartbeat."""

    def __init__(self, bus: str, type_: str, *, interval_s: float, read: Read | None = None, **options: Any) -> None:
        """`read` may be async and must not block; `options` are those of SensorAgent. Raises SpecError."""
        super().__init__(bus, **options)
        check_seconds(self, "interval_s", interval_s)
        self._type, self._interval_s, self._read = type_, interval_s, read

    def next_after(self, now: float) -> float:
        """Return the time one interval on."""
        return now + self._interval_s

    async def poll(self) -> Sequence[Signal]:
        """Read once."""
        data = {"beat": self._polls} if self._read is None else await read_once(self._read)
        return [] if data is None else [self.signal(self._type, data)]


async def read_once(read: Read) -> Any:
    """Return what a plain or async function gives."""
    value = read()
    return await value if inspect.isawaitable(value) else value


def check_seconds(sensor: SensorAgent, name: str, value: float) -> None:
    """Raise SpecError unless the value is a number of seconds above 0."""
    if not value > 0:
        raise SpecError(f"{type(sensor).__name__}: {name} must be a number of seconds above 0, got {value!r}.")
