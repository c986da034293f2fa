"""Bulkheads: for each key so much work at once, so much waiting, and a deadline; the rest is refused (Nygard, 2007)."""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from dspex_agents.clock import Clock
from dspex_agents.errors import MessageError, SpecError

_T = TypeVar("_T")
_FIRST_GUESS_S = 1.0
_SMOOTHING = 0.2


class OverloadedError(MessageError):
    """Too much at once: the work was not begun. `retry_after_s` is an estimate of when there may be room."""

    retryable = True
    counts_as_failure = False

    def __init__(self, what: str, running: int, waiting: int, retry_after_s: float) -> None:
        super().__init__(what, running, waiting, retry_after_s)
        self.what, self.running, self.waiting, self.retry_after_s = what, running, waiting, retry_after_s

    def __str__(self) -> str:
        counts = f"{self.running} are under way and {self.waiting} wait"
        return f"{self.what!r} is overloaded: {counts}; ask again in {self.retry_after_s:.3g} s."


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadSettings:
    """How much of one key: `concurrency` at once, `max_waiting` behind them, each done `timeout_s` after it came."""

    concurrency: int = 10
    max_waiting: int = 100
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise SpecError(f"bulkhead.concurrency must be at least 1, got {self.concurrency}.")
        if self.max_waiting < 0:
            raise SpecError(f"bulkhead.max_waiting must not be negative, got {self.max_waiting}.")
        if not self.timeout_s > 0:  # also refuses NaN
            raise SpecError(f"bulkhead.timeout_s must be a positive number of seconds, got {self.timeout_s}.")


@dataclass(frozen=True, slots=True)
class BulkheadStatus:
    """One key at one moment. `refused` were turned away at once, `expired` waited in vain; `mean_s` is recent."""

    running: int
    waiting: int
    done: int
    refused: int
    expired: int
    mean_s: float | None


class Compartment:
    """One key's part: pure. Each piece of work is a ticket that enters once and then leaves, or gives up waiting."""

    def __init__(self, key: str, settings: BulkheadSettings) -> None:
        self.key, self.settings = key, settings
        self._running: dict[int, float] = {}
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._done = self._refused = self._expired = 0
        self._mean_s: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return not self._running and not self._waiting

    def enter(self, ticket: int, now: float) -> bool:
        """Return True when the work may begin, False when it is to wait for its turn. Raises OverloadedError."""
        if len(self._running) < self.settings.concurrency and not self._waiting:
            self._running[ticket] = now
            return True
        if len(self._waiting) >= self.settings.max_waiting:
            self._refused += 1
            raise self.overloaded()
        self._waiting[ticket] = None
        return False

    def leave(self, ticket: int, now: float, *, began: bool = True) -> int | None:
        """Note that the work has ended (or was never begun); return the ticket whose turn has come, if any waits."""
        took_s = now - self._running.pop(ticket)
        if began:
            self._mean_s = took_s if self._mean_s is None else self._mean_s + _SMOOTHING * (took_s - self._mean_s)
            self._done += 1
        else:
            self._expired += 1
        if not self._waiting:
            return None
        following, _ = self._waiting.popitem(last=False)
        self._running[following] = now
        return following

    def give_up(self, ticket: int) -> bool:
        """Take a ticket out of the line. False: its turn has come, it has to leave."""
        if ticket not in self._waiting:
            return False
        del self._waiting[ticket]
        self._expired += 1
        return True

    def overloaded(self) -> OverloadedError:
        """Return the error of this moment: with how long the line will take, going by how long work took lately."""
        each_s = _FIRST_GUESS_S if self._mean_s is None else self._mean_s
        wait_s = each_s * (len(self._waiting) + 1) / self.settings.concurrency
        return OverloadedError(self.key, len(self._running), len(self._waiting), wait_s)

    def status(self) -> BulkheadStatus:
        """Return the figures of this moment."""
        counts = (self._done, self._refused, self._expired)
        return BulkheadStatus(len(self._running), len(self._waiting), *counts, self._mean_s)


class Bulkhead:
    """Keeps work of one key from taking all there is: first come, first served within a key, keys apart.

    At most `most_keys` keys are known at a time; the one longest unused makes room for a new one, and while all are
    in use a new one is refused.
    """

    def __init__(
        self,
        clock: Clock,
        settings: BulkheadSettings | None = None,
        *,
        by_key: Mapping[str, BulkheadSettings] | None = None,
        most_keys: int = 1000,
    ) -> None:
        """`by_key` has the settings of single keys, `settings` those of all others. Raises SpecError."""
        if most_keys < 1:
            raise SpecError(f"bulkhead: most_keys must be at least 1, got {most_keys}.")
        self._clock, self._settings, self._by_key = clock, settings or BulkheadSettings(), dict(by_key or {})
        self._most_keys = most_keys
        self._compartments: OrderedDict[str, Compartment] = OrderedDict()
        self._turns: dict[int, asyncio.Future[None]] = {}
        self._tickets = itertools.count(1)

    async def run(self, key: str, work: Callable[[], Awaitable[_T]], *, timeout_s: float | None = None) -> _T:
        """Return the result of `work()`, begun when there is room and done within `timeout_s` (the key's setting).

        Raises OverloadedError when it was not begun, TimeoutError when it was cut off.
        """
        seconds = self._settings_of(key).timeout_s if timeout_s is None else timeout_s
        came = self._clock.monotonic()
        async with self.slot(key, timeout_s=seconds):
            limit = asyncio.timeout(seconds - (self._clock.monotonic() - came))
            try:
                async with limit:
                    return await work()
            except TimeoutError:
                if not limit.expired():
                    raise
                raise TimeoutError(f"{key!r} was cut off: not done within {seconds:g} s.") from None

    @asynccontextmanager
    async def slot(self, key: str, *, timeout_s: float | None = None) -> AsyncIterator[None]:
        """Hold a place while the block runs; wait for one up to `timeout_s` seconds. Raises OverloadedError."""
        compartment = self._compartment(key)
        ticket = next(self._tickets)
        if not compartment.enter(ticket, self._clock.monotonic()):
            await self._turn(compartment, ticket, compartment.settings.timeout_s if timeout_s is None else timeout_s)
        try:
            yield
        finally:
            self._leave(compartment, ticket)

    def status(self) -> dict[str, BulkheadStatus]:
        """Return the figures of every key known."""
        return {key: compartment.status() for key, compartment in self._compartments.items()}

    async def _turn(self, compartment: Compartment, ticket: int, timeout_s: float) -> None:
        turn = self._turns[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            if not compartment.give_up(ticket):  # its turn came while it gave up: the next one's, then
                self._leave(compartment, ticket, began=False)
            if isinstance(error, TimeoutError):
                raise compartment.overloaded() from None
            raise
        finally:
            del self._turns[ticket]

    def _leave(self, compartment: Compartment, ticket: int, *, began: bool = True) -> None:
        following = compartment.leave(ticket, self._clock.monotonic(), began=began)
        if following is not None and not (turn := self._turns[following]).done():
            turn.set_result(None)

    def _settings_of(self, key: str) -> BulkheadSettings:
        return self._by_key.get(key, self._settings)

    def _compartment(self, key: str) -> Compartment:
        compartment = self._compartments.get(key)
        if compartment is None:
            if len(self._compartments) >= self._most_keys:
                self._make_room(key)
            compartment = self._compartments[key] = Compartment(key, self._settings_of(key))
        self._compartments.move_to_end(key)
        return compartment

    def _make_room(self, newcomer: str) -> None:
        idle = next((key for key, compartment in self._compartments.items() if compartment.is_idle), None)
        if idle is None:
            raise OverloadedError(newcomer, 0, 0, _FIRST_GUESS_S)
        del self._compartments[idle]
