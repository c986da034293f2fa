"""A model call under way: admitted by the meter, told to whoever listens once it has ended."""

from __future__ import annotations

import dataclasses
from typing import Final

from dspex_agents.clock import SystemClock
from dspex_agents.ids import RandomIds
from dspex_ray.calls.record import CallLog, CallRecord, Meter, Reserved, Status
from dspex_ray.calls.tags import current_tags
from dspex_ray.errors import LMError
from dspex_ray.lm.base import LM, LMReply, LMRequest
from dspex_ray.lm.tokens import count_prompt_tokens

_REFUSED: Final = 400
_UNHEARD: Final = CallLog(RandomIds(), SystemClock())


class OpenCall:
    """A call under way, for the meter and the logs that were there when it began."""

    __slots__ = (
        *("_at", "_clock", "_id", "_logs", "_meter", "_model"),
        *("_module", "_program", "_request", "_reserved", "_started", "_tags"),
    )

    def __init__(self, logs: tuple[CallLog, ...], meter: Meter | None, lm: LM, program: str, module: str) -> None:
        innermost = logs[-1] if logs else _UNHEARD
        self._logs, self._meter, self._model, self._program, self._module = logs, meter, lm.model, program, module
        self._clock, self._id, self._tags = innermost.clock, innermost.ids.new("call"), current_tags.get()
        self._started, self._at = self._clock.monotonic(), self._clock.now()
        self._reserved: Reserved | None = None
        self._request: LMRequest | None = None

    async def admit(self, lm: LM, request: LMRequest) -> None:
        """Have the meter, if there is one, let the call through. Raises BudgetExceededError."""
        self._request = request
        if self._meter is not None:
            pending = LMReply(text="", model=self._model, attempts=0)
            self._reserved = await self._meter.admit(self._record(pending, "unknown"), lm, request)

    def answered(self, reply: LMReply) -> None:
        """Keep the reply's figures."""
        self._keep(self._record(reply, "cached" if reply.cached else "ok"), reply)

    def failed(self, error: BaseException) -> None:
        """Keep the failure, with its tokens where they are known."""
        attempts, billed = (error.attempts, error.billed) if isinstance(error, LMError) else (1, None)
        told = "closed before its end" if isinstance(error, GeneratorExit) else str(error)
        latency_s = self._clock.monotonic() - self._started
        reply = billed or LMReply(text="", model=self._model)
        failed = dataclasses.replace(reply, latency_s=latency_s, attempts=attempts)
        reserved = self._reserved if billed is None and _may_be_billed(error) else None
        self._keep(self._record(failed, "error", f"{type(error).__name__}: {told}", reserved), failed)

    def ended(self, reply: LMReply | None, error: BaseException | None) -> None:
        """Keep how a stream ended: a reply that came whole counts, whatever came after it."""
        if reply is not None:
            self.answered(reply)
        elif error is not None:
            self.failed(error)

    def _keep(self, record: CallRecord, reply: LMReply) -> None:
        asked = reply.usage.prompt_tokens or reply.spared.prompt_tokens
        if not asked and self._request is not None and self._logs:
            asked = count_prompt_tokens(self._request.messages)
        for log in self._logs:
            log.records.append(record)
            log.asked_tokens += asked
        if self._meter is not None:
            self._meter.ended(record, self._reserved)

    def _record(
        self, reply: LMReply, status: Status, error: str | None = None, reserved: Reserved | None = None
    ) -> CallRecord:
        tags, usage = self._tags, reply.usage
        return CallRecord(
            id=self._id,
            at=self._at,
            program=self._program,
            model=reply.model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            cost_usd=reply.cost_usd,
            latency_s=reply.latency_s,
            attempts=reply.attempts,
            status=status,
            error=error,
            run_id=tags.run_id,
            trial=tags.trial,
            row=tags.row,
            version=tags.version,
            request_id=tags.request_id or reply.request_id,
            module=self._module or tags.module,
            agent=tags.agent,
            tenant=tags.tenant,
            holder=None if self._meter is None else self._meter.holder,
            reserved_usd=None if reserved is None else reserved.usd,
            reserved_tokens=None if reserved is None else reserved.tokens,
        )


def _may_be_billed(error: BaseException) -> bool:
    """Whether the provider may have worked for a call that failed: not if it refused it or was never reached."""
    if not isinstance(error, LMError):
        return True  # given up while it was open
    was_refused = error.status is not None and error.status >= _REFUSED
    return not (was_refused or error.attempts == 0 or hasattr(error.__cause__, "os_error"))  # aiohttp's: no connection
