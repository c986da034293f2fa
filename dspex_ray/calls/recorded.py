"""One record for every model call, failed ones too, kept by whoever listens with `recording()`."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager, nullcontext

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.ids import IdSource, RandomIds
from dspex_ray.calls.open_call import OpenCall
from dspex_ray.calls.record import CallLog, CallRecord, Meter
from dspex_ray.calls.tags import CallTags, tagged
from dspex_ray.context_value import Within
from dspex_ray.errors import LMConnectionError
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest
from dspex_ray.tracing.spans import model_span

__all__ = [
    "CallLog",
    "CallRecord",
    "CallTags",
    "metered",
    "recorded_call",
    "recorded_stream",
    "recording",
    "tagged",
    "within_program",
]


_logs: contextvars.ContextVar[tuple[CallLog, ...]] = contextvars.ContextVar("dspex_call_logs", default=())
_meter: contextvars.ContextVar[Meter | None] = contextvars.ContextVar("dspex_call_meter", default=None)
_program: contextvars.ContextVar[str | None] = contextvars.ContextVar("dspex_ledger_program", default=None)
_NOTHING = nullcontext()


def recording(ids: IdSource | None = None, clock: Clock | None = None) -> Within[CallLog]:
    """Listen to the model calls of this task and of those it starts; a log around this one sees them as well.

    A call's id and time come from the innermost log; one that gives none takes those of the log around it.
    """
    outer = _logs.get()
    around = outer[-1] if outer else None
    log = CallLog(
        ids or (around.ids if around else RandomIds()),
        clock or (around.clock if around else SystemClock()),
    )
    return Within(_logs, (*outer, log), log)


def metered(meter: Meter) -> Within[None]:
    """Have the calls of this task, and of those it starts, admitted and settled by this meter alone."""
    return Within(_meter, meter, None)


def within_program(path: str) -> AbstractContextManager[None]:
    """Put the calls made within under this program's path, unless a program around it has put them under its own."""
    return _NOTHING if _program.get() is not None else Within(_program, path, None)


async def recorded_call(lm: LM, request: LMRequest, program: str, module: str = "") -> LMReply:
    """Ask the model once and tell every listening log how it went. Raises what the model raises.

    `program` is the ledger's path for a call outside any `within_program`.
    """
    call = _begun(lm, program, module)
    if call is not None:
        await call.admit(lm, request)
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
    call = _begun(lm, program, module)
    if call is not None:
        await call.admit(lm, request)
    traced = model_span(lm, request)
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


def _begun(lm: LM, program: str, module: str) -> OpenCall | None:
    logs, meter = _logs.get(), _meter.get()
    return OpenCall(logs, meter, lm, _program.get() or program, module) if logs or meter is not None else None
