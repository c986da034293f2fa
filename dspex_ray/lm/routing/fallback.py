"""`FallbackLM`: models in order; the next answers where one cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from dspex_agents.clock import Clock
from dspex_agents.services.breaker import BreakerSettings, Permit
from dspex_ray.errors import (
    LMAuthError,
    LMBadReplyError,
    LMConnectionError,
    LMContentFilterError,
    LMContextWindowError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest
from dspex_ray.lm.routing.members import Member, SeveralModels, final_error, with_failed

FALLS_OVER: Final[tuple[type[LMError], ...]] = (
    LMAuthError,
    LMBadReplyError,
    LMConnectionError,
    LMContentFilterError,
    LMContextWindowError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)
"""Errors after which another model may do better: all but a plain LMError, which says that the request is wrong."""


class FallbackLM(SeveralModels):
    """Asks the first model; after an error of `falls_over` the second, and so on.

    The reply names the model that answered; its tokens and cost are that one's, and those of replies that a filter left
    nothing of (failures that are billed); `attempts` counts the requests to all. Each model but the last may take its
    part of what is left of the timeout (a half before one other), so that one that hangs leaves time for the next. A
    model that failed five times in a row is passed over for half a minute (`breaker`); when all are, the first is asked
    all the same. A stream falls over until its first piece.
    """

    def __init__(
        self,
        models: Sequence[LM | str],
        *,
        falls_over: tuple[type[LMError], ...] = FALLS_OVER,
        breaker: BreakerSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(models, breaker=breaker, clock=clock)
        self._falls_over = falls_over

    async def complete(self, request: LMRequest) -> LMReply:
        """Answer with the first reply. Raises the last model's error, which names those of the others."""
        deadline = self._clock.monotonic() + request.timeout_s
        failed: list[tuple[str, LMError]] = []
        for member, permit, others in self._order():
            try:
                reply = await member.complete(self._in_time(request, deadline, others), permit)
            except self._falls_over as error:
                failed.append((member.lm.model, error))
                if self._clock.monotonic() >= deadline:
                    break
                continue
            return with_failed(reply, failed)
        raise final_error(failed) from failed[-1][1]

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        """Answer piece by piece, by the first model that begins to."""
        deadline = self._clock.monotonic() + request.timeout_s
        failed: list[tuple[str, LMError]] = []
        for member, permit, others in self._order():
            begun = False
            try:
                async for chunk in member.stream(self._in_time(request, deadline, others), permit):
                    begun = True
                    yield chunk if chunk.reply is None else LMChunk(reply=with_failed(chunk.reply, failed))
            except self._falls_over as error:
                failed.append((member.lm.model, error))
                if begun or self._clock.monotonic() >= deadline:
                    break
                continue
            return
        raise final_error(failed) from failed[-1][1]

    def _order(self) -> Iterator[tuple[Member, Permit | None, int]]:
        """Yield each model to ask with its permit and how many come after it."""
        any_asked = False
        for position, member in enumerate(self._members):
            permit = member.admit()
            if permit is not None:
                any_asked = True
                yield member, permit, len(self._members) - position - 1
        if not any_asked:
            yield self._members[0], None, 0

    def _in_time(self, request: LMRequest, deadline: float, others: int) -> LMRequest:
        left_s = max(0.0, deadline - self._clock.monotonic())
        return dataclasses.replace(request, timeout_s=left_s / (others + 1))
