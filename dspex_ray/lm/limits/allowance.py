"""A client's own store of lent requests and tokens: most calls take from it, few ask the lender."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from dspex_ray.errors import LMConnectionError, LMRateLimitError
from dspex_ray.lm.base import LMRequest, Usage
from dspex_ray.lm.limits.lender import Lender
from dspex_ray.lm.limits.settings import LMLimits
from dspex_ray.lm.limits.slices import HELD_S, Slice, TakeSlice
from dspex_ray.lm.retry import Timing
from dspex_ray.lm.tokens import count_prompt_tokens

_MOST_AHEAD: Final = 64
_FIRST_COMPLETION: Final = 256.0  # tokens, until replies have come
_NEWEST_WEIGHT: Final = 0.1


class Allowance:
    """Requests and tokens a minute, as lent. Used on one event loop; those who wait are served in order."""

    def __init__(self, model: str, limits: LMLimits, holder: str, lender: Lender, timing: Timing) -> None:
        self._model, self._limits, self._holder, self._lender, self._timing = model, limits, holder, lender, timing
        self._requests = self._tokens = 0  # lent and not used yet
        self._back_requests = self._back_tokens = 0  # to be told with the next question
        self._lent_at = -math.inf
        self._ahead = 1
        self._completion = _FIRST_COMPLETION
        self._turn = asyncio.Lock()

    async def reserve(self, request: LMRequest, patience_s: float) -> int:
        """Wait until a request may be sent; return the tokens set aside for it.

        Raises LMRateLimitError when that would take more than `patience_s`, without waiting, and LMConnectionError when
        the lender does not answer.
        """
        tokens = self._estimate(request)
        async with self._turn:
            wait_s = await self._take(tokens, patience_s)
        if wait_s:
            try:
                await self._timing.sleep(wait_s)
            except asyncio.CancelledError:
                self._back_requests, self._back_tokens = self._back_requests + 1, self._back_tokens + tokens
                raise
        return tokens

    def settle(self, reserved: int, usage: Usage) -> None:
        """Set the tokens a reply really took against those set aside."""
        self._completion += (usage.completion_tokens - self._completion) * _NEWEST_WEIGHT
        if self._limits.tokens_per_minute is not None:
            self._back_tokens += reserved - usage.total_tokens

    def _estimate(self, request: LMRequest) -> int:
        if self._limits.tokens_per_minute is None:
            return 0
        return count_prompt_tokens(request.messages) + math.ceil(request.max_tokens or self._completion)

    async def _take(self, tokens: int, patience_s: float) -> float:
        """Take a request from the store, else from the lender; return the seconds until it may be sent."""
        age_s = self._timing.clock.monotonic() - self._lent_at
        is_fresh = age_s < HELD_S
        if not (is_fresh and self._requests >= 1 and self._tokens >= tokens):
            self._ahead = min(_MOST_AHEAD, self._ahead * 2) if is_fresh else max(1, self._ahead // 2)
            if not is_fresh:
                self._clear_store(is_lost=age_s >= 2 * HELD_S)
            wait_s = await self._borrow(tokens, patience_s)
            if wait_s:
                return wait_s
        self._requests, self._tokens = self._requests - 1, self._tokens - tokens
        return 0.0

    def _clear_store(self, *, is_lost: bool) -> None:
        """Use no more what was lent long ago; it goes back, unless it is too old for that."""
        if not is_lost:
            self._back_requests, self._back_tokens = (
                self._back_requests + self._requests,
                self._back_tokens + self._tokens,
            )
        self._requests = self._tokens = 0

    async def _borrow(self, tokens: int, patience_s: float) -> float:
        """Fill the store for a request; a positive result is the wait for that request alone, taken already."""
        lent = await self._ask(
            TakeSlice(
                model=self._model,
                limits=self._limits,
                holder=self._holder,
                requests=max(0, 1 - self._requests),
                tokens=max(0, tokens - self._tokens),
                ahead=self._ahead,
                patience_s=patience_s,
                unused_requests=self._back_requests,
                unused_tokens=self._back_tokens,
            )
        )
        self._back_requests = self._back_tokens = 0
        if lent.wait_s > patience_s:
            raise LMRateLimitError(
                f"{self._model} is at its limit ({self._limits}): the next request could be sent in {lent.wait_s:.3g} "
                f"s, the call's timeout leaves {patience_s:.3g} s. Call less often, or raise timeout_s or the limits.",
                retry_after_s=lent.wait_s,
                attempts=0,
            )
        is_topped_up = self._requests > 0 or self._tokens > 0  # then the whole is as old as its oldest part
        is_counted = self._limits.requests_per_minute is not None
        self._requests = self._requests + lent.requests if is_counted else _MOST_AHEAD
        self._tokens += lent.tokens
        if lent.wait_s:
            self._requests, self._tokens = self._requests - 1, self._tokens - tokens
            return lent.wait_s
        if not is_topped_up:
            self._lent_at = self._timing.clock.monotonic()
        return 0.0

    async def _ask(self, ask: TakeSlice) -> Slice:
        try:
            return await self._lender(ask)
        except Exception as error:
            raise LMConnectionError(
                f"The limits of {self._model} are shared, and whoever keeps them did not answer "
                f"({type(error).__name__}: {error}). Nothing was sent; calling again may succeed.",
                attempts=0,
            ) from error
