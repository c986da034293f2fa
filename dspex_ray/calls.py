"""One record for every model call, failed ones too, kept by whoever listens with `recording()`."""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from dspex_agents.clock import Clock, SystemClock
from dspex_agents.ids import IdSource, RandomIds
from dspex_ray.errors import LMError
from dspex_ray.lm.base import LM, LMReply, LMRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTags:
    """What a call was made for; every field may be unknown."""

    run_id: str | None = None
    trial: int | None = None
    row: int | None = None
    version: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One model call. `at` is seconds since the epoch, `cost_usd` is None where the price is not known.

    `attempts` counts HTTP requests; `request_id` is the tagged one, else the provider's. A `cached` call reached no
    provider: it has no tokens and costs nothing.
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
    status: Literal["ok", "error", "cached"] = "ok"
    error: str | None = None
    run_id: str | None = None
    trial: int | None = None
    row: int | None = None
    version: str | None = None
    request_id: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the record as a flat JSON object, for a table."""
        return dataclasses.asdict(self)


class CallLog:
    """The calls made while it listened, in the order they ended."""

    def __init__(self, ids: IdSource, clock: Clock) -> None:
        self.ids, self.clock = ids, clock
        self.records: list[CallRecord] = []

    @property
    def cost_usd(self) -> float:
        """The sum of the known prices, in US dollars."""
        return sum(record.cost_usd or 0.0 for record in self.records)


_NO_TAGS = CallTags()
_logs: contextvars.ContextVar[tuple[CallLog, ...]] = contextvars.ContextVar("dspex_call_logs", default=())
_tags: contextvars.ContextVar[CallTags] = contextvars.ContextVar("dspex_call_tags", default=_NO_TAGS)


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
def tagged(**tags: Any) -> Iterator[None]:
    """Give the calls made within a run id, trial, row, version or request id, over those given outside.

    Raises TypeError for any other tag.
    """
    token = _tags.set(dataclasses.replace(_tags.get(), **tags))
    try:
        yield
    finally:
        _tags.reset(token)


async def recorded_call(lm: LM, request: LMRequest, program: str) -> LMReply:
    """Ask the model once and tell every listening log how it went. Raises what the model raises."""
    logs = _logs.get()
    if not logs:
        return await lm.complete(request)
    clock = logs[-1].clock
    started, at = clock.monotonic(), clock.now()
    try:
        reply = await lm.complete(request)
    except BaseException as error:
        attempts = error.attempts if isinstance(error, LMError) else 1
        failed = LMReply(text="", model=lm.model, latency_s=clock.monotonic() - started, attempts=attempts)
        _keep(logs, _record(logs[-1], at, program, failed, f"{type(error).__name__}: {error}"))
        raise
    _keep(logs, _record(logs[-1], at, program, reply, None))
    return reply


def _record(log: CallLog, at: float, program: str, reply: LMReply, error: str | None) -> CallRecord:
    tags, usage = _tags.get(), reply.usage
    return CallRecord(
        id=log.ids.new("call"),
        at=at,
        program=program,
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
    )


def _keep(logs: tuple[CallLog, ...], record: CallRecord) -> None:
    for log in logs:
        log.records.append(record)
