"""What is known of one model call, and who is told of it before and after."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from dspex_agents.clock import Clock
from dspex_agents.ids import IdSource
from dspex_ray.lm.base import LM, LMRequest

Status: TypeAlias = Literal["ok", "error", "cached", "unknown"]


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
    status: Status = "ok"
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
    """The calls made while it listened, in the order they ended.

    `asked_tokens` is the length of their prompts, by the provider's count, or by `count_prompt_tokens` where it gave
    none. Unlike the `prompt_tokens` of the records, which are what was paid for, it does not depend on a cache.
    """

    def __init__(self, ids: IdSource, clock: Clock) -> None:
        self.ids, self.clock = ids, clock
        self.records: list[CallRecord] = []
        self.asked_tokens = 0

    @property
    def cost_usd(self) -> float:
        """The sum of the known prices, in US dollars."""
        return sum(record.cost_usd or 0.0 for record in self.records)


class Reserved(Protocol):
    """What a meter has set aside for a call: the most it may take."""

    @property
    def usd(self) -> float:
        """US dollars."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens of prompt and reply."""
        ...


class Meter(Protocol):
    """Who is told of each call before and after it: the budgets it must fit, the journal that outlives the process."""

    @property
    def holder(self) -> str:
        """The process, as the ledger names it."""
        ...

    async def admit(self, intent: CallRecord, lm: LM, request: LMRequest) -> Reserved | None:
        """Reserve what the call may take and note that it is about to be sent.

        Raises BudgetExceededError when it does not fit; then nothing is sent or recorded.
        """
        ...

    def ended(self, record: CallRecord, reserved: Reserved | None) -> None:
        """Settle what was reserved and note how the call ended."""
        ...
