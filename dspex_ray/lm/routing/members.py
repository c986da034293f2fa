"""The models of a client that has several, each behind a breaker, so that a dead one is passed over."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.services.breaker import BreakerOpen, BreakerSettings, CircuitBreaker, Permit
from dspex_ray.errors import (
    ConfigurationError,
    LMAuthError,
    LMBadReplyError,
    LMConnectionError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest, Usage

BREAKER: Final = BreakerSettings(failure_threshold=5, success_threshold=1, reset_s=30.0)
"""Five failed calls in a row close a model out for half a minute; then one call tries it."""

_OUT_OF_ORDER: Final = (
    LMAuthError,
    LMBadReplyError,
    LMConnectionError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)


class Member:
    """One model, how many calls are open at it and how long its calls take; pickles with a closed breaker.

    A failure that tells of the model (no connection, 5xx, 429, a refused key) counts for the breaker; one that tells of
    the request does not.
    """

    def __init__(self, lm: LM, breaker: BreakerSettings, clock: Clock) -> None:
        self.lm, self._settings, self._clock = lm, breaker, clock
        self._breaker = CircuitBreaker(breaker)
        self.in_flight = 0
        self.latency_s = 0.0  # a moving mean of the newest twenty or so; 0 until the first reply

    def admit(self) -> Permit | None:
        """Return leave for one call, None while the breaker is open."""
        permit = self._breaker.allow(self._clock.monotonic())
        return None if isinstance(permit, BreakerOpen) else permit

    @property
    def is_open(self) -> bool:
        """Whether the model is passed over at this moment."""
        return self._breaker.state(self._clock.monotonic()) == "open"

    async def complete(self, request: LMRequest, permit: Permit | None) -> LMReply:
        """Ask the model. Raises what it raises."""
        started = self._clock.monotonic()
        with self._reported(permit):
            reply = await self.lm.complete(request)
            self._took(self._clock.monotonic() - started)
            return reply

    async def stream(self, request: LMRequest, permit: Permit | None) -> AsyncIterator[LMChunk]:
        """Ask the model piece by piece. Raises what it raises."""
        started = self._clock.monotonic()
        with self._reported(permit):
            async for chunk in self.lm.stream(request):
                if chunk.reply is not None:
                    self._took(self._clock.monotonic() - started)
                yield chunk

    @contextmanager
    def _reported(self, permit: Permit | None) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        except BaseException as error:
            if permit is not None and isinstance(error, _OUT_OF_ORDER):
                self._breaker.failure(permit, self._clock.monotonic())
            elif permit is not None:
                self._breaker.release(permit)
            raise
        else:
            if permit is not None:
                self._breaker.success(permit, self._clock.monotonic())
        finally:
            self.in_flight -= 1

    def _took(self, latency_s: float) -> None:
        self.latency_s += (latency_s - self.latency_s) * (0.1 if self.latency_s else 1.0)

    def __getstate__(self) -> tuple[LM, BreakerSettings, Clock]:
        return self.lm, self._settings, self._clock

    def __setstate__(self, state: tuple[LM, BreakerSettings, Clock]) -> None:
        Member.__init__(self, *state)


class SeveralModels:
    """What clients of several models have in common: their names, their addresses, their end."""

    def __init__(
        self, models: Sequence[LM | str], *, breaker: BreakerSettings | None = None, clock: Clock | None = None
    ) -> None:
        """Make the clients of names. Raises ConfigurationError without a model, and what `resolve_lm` raises."""
        from dspex_ray.lm.resolve import resolve_lm  # noqa: PLC0415 - it makes clients of several models itself

        if not models or isinstance(models, str):
            raise ConfigurationError(f"Several models are a list of names or clients, at least one, got {models!r}.")
        self._clock = clock or SystemClock()
        made = [resolve_lm(model) for model in models]
        self._members = [Member(lm, breaker or BREAKER, self._clock) for lm in made]

    @property
    def model(self) -> str:
        """All the names, in order, with `|` between them; a reply says which one answered."""
        return "|".join(member.lm.model for member in self._members)

    @property
    def endpoint(self) -> str:
        """The addresses, in order."""
        return "|".join(getattr(member.lm, "endpoint", "") for member in self._members)

    def passed_over(self) -> tuple[str, ...]:
        """Return the models that are not asked at this moment because they failed."""
        return tuple(member.lm.model for member in self._members if member.is_open)

    async def aclose(self) -> None:
        """Close every model's connections. Calling it twice is harmless."""
        for member in self._members:
            await member.lm.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(repr(member.lm) for member in self._members)}])"


def with_failed(reply: LMReply, failed: Sequence[tuple[str, LMError]]) -> LMReply:
    """Return the reply with the attempts at other models counted in, and with what was billed for their failures."""
    if not failed:
        return reply
    bills = [error.billed for _, error in failed if error.billed is not None]
    attempts = reply.attempts + sum(error.attempts for _, error in failed)
    return dataclasses.replace(_summed(reply, bills), attempts=attempts)


def _summed(reply: LMReply, others: Sequence[LMReply]) -> LMReply:
    """Return the reply with the tokens and the cost of all of them."""
    bills = [reply, *others]
    return dataclasses.replace(
        reply,
        usage=Usage(
            prompt_tokens=sum(bill.usage.prompt_tokens for bill in bills),
            completion_tokens=sum(bill.usage.completion_tokens for bill in bills),
            cached_tokens=sum(bill.usage.cached_tokens for bill in bills),
        ),
        cost_usd=None if any(bill.cost_usd is None for bill in bills) else sum(bill.cost_usd or 0.0 for bill in bills),
    )


def final_error(failed: Sequence[tuple[str, LMError]]) -> LMError:
    """Return the last model's error, which says what the others failed with and has their attempts and their bills."""
    _, last = failed[-1]
    others = "; ".join(f"{model}: {type(error).__name__}" for model, error in failed[:-1])
    message = f"{last.message} Before it failed {others}." if others else last.message
    settings: dict[str, Any] = {"status": last.status, "retry_after_s": last.retry_after_s, "raw": last.raw}
    attempts = sum(error.attempts for _, error in failed)
    bills = [error.billed for _, error in failed if error.billed is not None]
    return type(last)(message, **settings, attempts=attempts, billed=_summed(bills[-1], bills[:-1]) if bills else None)
