"""The gate before a model's endpoint, on one event loop: how many requests are open, how fast they follow."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

from dspex_ray.errors import LMError, LMRateLimitError, LMTimeoutError
from dspex_ray.lm.base import LMRequest, Usage
from dspex_ray.lm.limits.adaptive import AdaptiveConcurrency
from dspex_ray.lm.limits.allowance import Allowance
from dspex_ray.lm.limits.places import Places
from dspex_ray.lm.rate_headers import RateNews
from dspex_ray.lm.retry import Timing

_OVERLOADED: Final = (503, 529)
_LONGEST_GUESS_S: Final = 1.0  # of a pause the provider did not ask for: its reset times are those of the whole minute


class Pass:
    """Leave for one HTTP request; `leave` is called once with how it ended."""

    __slots__ = ("_gate", "begun_at", "deadline", "reserved", "usage")

    def __init__(self, gate: ModelGate, begun_at: float, deadline: float, reserved: int) -> None:
        self._gate: ModelGate | None = gate
        self.begun_at, self.deadline, self.reserved = begun_at, deadline, reserved
        self.usage: Usage | None = None

    def leave(self, error: BaseException | None = None) -> None:
        """Give the place back; `error` is what the request ended with. Calling it twice is harmless."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.left(self, error)


class ModelGate:
    """Lets at most so many requests be open as the endpoint copes with, at the pace that is allowed.

    What the endpoint says counts: after a 429 no new call is begun before the time it names, and one whose answer
    says that nothing is left makes the next wait a moment. Without limits, a pass costs no wait and no message.
    """

    def __init__(
        self,
        what: str,
        ceiling: int,
        timing: Timing,
        *,
        allowance: Allowance | None = None,
        places: Places | None = None,
    ) -> None:
        self._what, self._timing = what, timing
        self._adaptive = AdaptiveConcurrency(ceiling)
        if places is not None:
            self._adaptive.ceiling = 0  # until some are lent
        self._allowance, self._places = allowance, places
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = -math.inf
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """How many requests may be open now."""
        return self._adaptive.limit

    @property
    def wanted(self) -> int:
        """How many requests are open or wait for a place."""
        return self.in_flight + len(self._waiting)

    async def enter(self, request: LMRequest, patience_s: float, *, is_first: bool) -> Pass:
        """Wait for a place and for the pace. A retry (not `is_first`) has waited already for what the endpoint named.

        Raises LMRateLimitError at once when the wait would be longer than `patience_s`.
        """
        clock = self._timing.clock
        begun_at = clock.monotonic()
        deadline = begun_at + patience_s
        if is_first and self._paused_until > begun_at:
            await self._pause(self._paused_until - begun_at, patience_s)
        await self._place()
        reserved = 0
        if self._allowance is not None:
            try:
                reserved = await self._allowance.reserve(request, deadline - clock.monotonic())
            except BaseException:
                self._free_place()
                raise
        return Pass(self, clock.monotonic(), deadline, reserved)

    def heard(self, news: RateNews) -> None:
        """Take in what the headers of a good answer say of the rates."""
        wait_s = news.wait_s
        if wait_s:
            self._pause_until(self._timing.clock.monotonic() + min(wait_s, _LONGEST_GUESS_S))

    def left(self, ended: Pass, error: BaseException | None) -> None:
        """Note how a request ended, and let the next one in."""
        now = self._timing.clock.monotonic()
        if ended.usage is not None and self._allowance is not None:
            self._allowance.settle(ended.reserved, ended.usage)
        if error is None:
            self._adaptive.went_well(self.in_flight)
        elif _is_overload(error) or (isinstance(error, asyncio.CancelledError) and now >= ended.deadline):
            self._adaptive.met_overload(ended.begun_at, now)
        if isinstance(error, LMRateLimitError) and error.retry_after_s is not None:
            self._pause_until(now + error.retry_after_s)
        self._free_place()

    def set_ceiling(self, ceiling: int) -> None:
        """Change how many may be open at most, and let in who fits."""
        self._adaptive.ceiling = ceiling
        self._let_in()

    async def aclose(self) -> None:
        """End what runs beside the calls, and give borrowed places back."""
        if self._places is not None:
            await self._places.aclose()

    def _pause_until(self, at: float) -> None:
        self._paused_until = max(self._paused_until, at)

    async def _pause(self, wait_s: float, patience_s: float) -> None:
        if wait_s >= patience_s:
            raise LMRateLimitError(
                f"{self._what} asked to be left alone for {wait_s:.3g} s more (429), and the call's timeout leaves "
                f"{patience_s:.3g} s. Call less often, or raise timeout_s.",
                status=429,
                retry_after_s=wait_s,
                attempts=0,
            )
        await self._timing.sleep(wait_s * (1.0 + self._timing.rng.random() / 10))

    async def _place(self) -> None:
        if self.in_flight < self.limit and not self._waiting:
            self.in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if self._places is not None:
            self._places.keep(self)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had its turn in the same moment
                self._free_place()
            raise

    def _free_place(self) -> None:
        self.in_flight -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


def _is_overload(error: BaseException) -> bool:
    if isinstance(error, LMRateLimitError | LMTimeoutError):
        return True
    return isinstance(error, LMError) and error.status in _OVERLOADED
