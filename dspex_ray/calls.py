"""One record for every model call, failed ones too, kept by whoever listens with `recording()`."""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.ids import IdSource, RandomIds
from dspex_ray.call_tags import CallTags, current_tags, tagged
from dspex_ray.errors import LMConnectionError, LMError
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest
from dspex_ray.tracing.spans import model_span

__all__ = [
    "CallLog",
    "CallRecord",
    "CallTags",
    "recorded_call",
    "recorded_stream",
    "recording",
    "tagged",
    "within_program",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One model call. `at` is seconds since the epoch, `cost_usd` is None where the price is not known.

    `attempts` counts HTTP requests; `request_id` is the tagged one, else the provider's. A `cached` call reached no
    provider: it has no tokens and costs nothing. An `unknown` one was sent by a process that died before it learnt the
    outcome. `program` is the top program, `module` the place of the sub-program that called ("" for the top one).
    `holder` is the process that called; `reserved_usd` and `reserved_tokens` are the most that a call of unknown cost
    may have taken.
    """

    id: str
    at: float
    program: str
    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = None
    latency_s: float = 0.0
    attempts: int = 1
    status: Literal["ok", "error", "cached", "unknown"] = "ok"
    error: str | None = None
    run_id: str | None = None
    trial: int | None = None
    row: int | None = None
    version: str | None = None
    request_id: str | None = None
    module: str | None = None
    agent: str | None = None
    tenant: str | None = None
    holder: str | None = None
    reserved_usd: float | None = None
    reserved_tokens: int | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the record as a flat JSON object, for a table."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(field.name for field in dataclasses.fields(CallRecord))


class CallLog:
    """The calls made while it listened, in the order they ended."""

    def __init__(self, ids: IdSource, clock: Clock) -> None:
        self.ids, self.clock = ids, clock
        self.records: list[CallRecord] = []

    @property
    def cost_usd(self) -> float:
        """The sum of the known prices, in US dollars."""
        return sum(record.cost_usd or 0.0 for record in self.records)


_logs: contextvars.ContextVar[tuple[CallLog, ...]] = contextvars.ContextVar("dspex_call_logs", default=())
_program: contextvars.ContextVar[str | None] = contextvars.ContextVar("dspex_ledger_program", default=None)


@contextmanager
def recording(ids: IdSource | None = None, clock: Clock | None = None) -> Iterator[CallLog]:
    """Listen to the model calls of this task and of those it starts; a log around this one sees them as well.

    A call's id and time come from the innermost log; one that gives none takes those of the log around it.
    """
    outer = _logs.get()
    around = outer[-1] if outer else None
    log = CallLog(
        ids or (around.ids if around else RandomIds()),
        clock or (around.clock if around else SystemClock()),
    )
    token = _logs.set((*outer, log))
    try:
        yield log
    finally:
        _logs.reset(token)


@contextmanager
def within_program(path: str) -> Iterator[None]:
    """Put the calls made within under this program's path, unless a program around it has put them under its own."""
    if _program.get() is not None:
        yield
        return
    token = _program.set(path)
    try:
        yield
    finally:
        _program.reset(token)


async def recorded_call(lm: LM, request: LMRequest, program: str, module: str = "") -> LMReply:
    """Ask the model once and tell every listening log how it went. Raises what the model raises.

    `program` is the ledger's path for a call outside any `within_program`.
    """
    call = _begun(lm, program, module)
    with model_span(lm, request) as traced:
        try:
            reply = await lm.complete(request)
        except BaseException as error:
            if call is not None:
                call.failed(error)
            raise
        traced.answered(reply)
    if call is not None:
        call.answered(reply)
    return reply


async def recorded_stream(lm: LM, request: LMRequest, program: str, module: str = "") -> AsyncIterator[LMChunk]:
    """Ask the model piece by piece and tell every listening log how it went, once, at the end.

    A stream that is closed before its last chunk is an error of unknown usage. Raises what the model raises.
    """
    call, traced = _begun(lm, program, module), model_span(lm, request)
    stream = lm.stream(request)
    reply: LMReply | None = None
    try:
        async for chunk in stream:
            reply = chunk.reply or reply
            yield chunk
    except BaseException as error:
        if call is not None:
            call.ended(reply, error)
        traced.streamed(reply, error)
        raise
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    cut = None if reply else LMConnectionError(f"{lm.model} ended its stream without the whole reply; call it again.")
    if call is not None:
        call.ended(reply, cut)
    traced.streamed(reply, cut)
    if cut is not None:
        raise cut


def _begun(lm: LM, program: str, module: str) -> _Call | None:
    logs = _logs.get()
    return _Call(logs, lm, _program.get() or program, module) if logs else None


class _Call:
    """A call under way, for the logs that listened when it began."""

    __slots__ = ("_at", "_id", "_logs", "_model", "_module", "_program", "_started", "_tags")

    def __init__(self, logs: tuple[CallLog, ...], lm: LM, program: str, module: str) -> None:
        self._logs, self._model, self._program, self._module = logs, lm.model, program, module
        self._started, self._at = logs[-1].clock.monotonic(), logs[-1].clock.now()
        self._id, self._tags = logs[-1].ids.new("call"), current_tags.get()

    def answered(self, reply: LMReply) -> None:
        """Keep the reply's figures."""
        self._keep(reply, None)

    def ended(self, reply: LMReply | None, error: BaseException | None) -> None:
        """Keep how a stream ended: a reply that came whole counts, whatever came after it."""
        if reply is not None:
            self.answered(reply)
        elif error is not None:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """Keep the failure."""
        attempts = error.attempts if isinstance(error, LMError) else 1
        latency_s = self._logs[-1].clock.monotonic() - self._started
        told = "closed before its end" if isinstance(error, GeneratorExit) else str(error)
        failed = LMReply(text="", model=self._model, latency_s=latency_s, attempts=attempts)
        self._keep(failed, f"{type(error).__name__}: {told}")

    def _keep(self, reply: LMReply, error: str | None) -> None:
        tags, usage = self._tags, reply.usage
        record = CallRecord(
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
            status="error" if error is not None else "cached" if reply.cached else "ok",
            error=error,
            run_id=tags.run_id,
            trial=tags.trial,
            row=tags.row,
            version=tags.version,
            request_id=tags.request_id or reply.request_id,
            module=self._module or tags.module,
            agent=tags.agent,
            tenant=tags.tenant,
        )
        for log in self._logs:
            log.records.append(record)
