"""`estimate`: the calls, tokens and money that an evaluation or an optimisation will take, before it runs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import statistics
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dspex_coordination.variables import Demos
from dspex_ray.budgets.ceiling import prices_of
from dspex_ray.calls import CallLog, metered, recording
from dspex_ray.calls.record import CallRecord
from dspex_ray.configuration import chosen_lm
from dspex_ray.data import Dataset, load_data
from dspex_ray.errors import ConfigurationError, DspexError, UsageError
from dspex_ray.evaluation import evaluate_rows
from dspex_ray.example import Example
from dspex_ray.lm.base import LM, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.context_window import MARGIN
from dspex_ray.lm.prices import Price, price_table
from dspex_ray.lm.tokens import count_prompt_tokens, count_tokens
from dspex_ray.metrics import Metric, close_metric, default_metric, resolve_metric
from dspex_ray.programs.program import Program
from dspex_ray.running_loop import refuse_running_loop

_LOOKED_AT: Final = 8
_SURE: Final = 1.96  # standard errors to each side of a mean: 95 %
_FEW: Final = 2.0  # a single row may be off by so much
_REPLY_HIGH: Final = 4.0
_DEMO_WRAPPING: Final = 16


@dataclass(frozen=True, slots=True)
class Range:
    """A figure that is not known yet: what is likely, and the least and most to reckon with."""

    low: float
    likely: float
    high: float

    def times(self, least: float, likely: float, most: float) -> Range:
        """Return the range for so many of the same."""
        return Range(self.low * least, self.likely * likely, self.high * most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run will take. `cost_usd` is None where a price is not known.

    `sampled` rows were really asked; with none, prompts were measured and replies guessed. `rows` are rows to be
    scored, over all trials. `priced_by` names the dated table of prices.
    """

    rows: Range
    calls: Range
    prompt_tokens: Range
    completion_tokens: Range
    cost_usd: Range | None
    sampled: int
    model: str
    priced_by: str

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON values."""
        return dataclasses.asdict(self)


def estimate(
    program: Program,
    data: Any,
    *,
    metric: str | Metric | None = None,
    mapping: Mapping[str, str] | None = None,
    sample: int = 0,
    trials: int = 1,
    seed: int = 0,
) -> Estimate:
    """Return what scoring the program on `data` will take; with `trials` above 1, what optimising it on that will.

    Without a `sample` nothing is asked and nothing spent: the program runs on a few rows against a stand-in for its
    model (a tool that it calls there really runs), prompts are counted by the rule of `lm/tokens.py`, and a metric's
    own calls are left out. With one, so many rows are really scored, metric included, and the interval is that of
    their mean (95 %). For an optimisation each trial is likely to score all validation rows, and demonstrations make
    prompts longer. Raises UsageError for numbers that cannot be, and what `evaluate` raises.
    """
    refuse_running_loop("estimate(...)", "await asyncio.to_thread(estimate, ...)")
    if sample < 0 or trials < 1:
        raise UsageError(f"sample must be at least 0 and trials at least 1, got {sample} and {trials}.")
    dataset = load_data(data, type(program), mapping=mapping)
    prices = prices_of(_client_or_name(program))
    looked_at = _spread(dataset, sample or _LOOKED_AT)
    if sample:
        chosen = default_metric(type(program), dataset) if metric is None else resolve_metric(metric)
        row = _sampled_row(asyncio.run(_asked(program, looked_at, chosen)), len(looked_at))
    else:
        row = _guessed_row(asyncio.run(_looked(program, looked_at)), len(looked_at), prices)
    scored = len(dataset) if trials == 1 else len(dataset.split(seed, max_validation=500)[1])
    times = (scored, scored * trials, scored * trials)
    if trials > 1:
        row = _with_demos(row, program, dataset, prices)
    ranges = {name: None if one is None else one.times(*times) for name, one in row.items()}
    return Estimate(
        rows=Range(*map(float, times)),
        sampled=sample and len(looked_at),
        model=_model_name(program),
        priced_by=str(price_table()),
        **ranges,  # type: ignore[arg-type]  # only the cost may be None
    )


class _StandIn:
    """Answers like `embedded/nearest`, and keeps what it was asked."""

    def __init__(self, model: str) -> None:
        from dspex_ray.lm.embedded import EmbeddedNearest  # noqa: PLC0415 - numpy, only for who estimates

        self.model = model
        self._nearest = EmbeddedNearest()
        self.asked: list[tuple[LMRequest, int]] = []

    async def complete(self, request: LMRequest) -> LMReply:
        text = self._nearest.answer(request.messages, request.response_schema)
        self.asked.append((request, count_tokens(text)))
        return LMReply(text=text, model=self.model, usage=Usage(), cost_usd=0.0)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        reply = await self.complete(request)
        yield LMChunk(delta=reply.text)
        yield LMChunk(reply=reply)

    async def aclose(self) -> None:
        """Nothing to close."""


class _NotSentError(DspexError):
    """A call to a model other than the stand-in: a part of the program has one of its own."""


@dataclass(slots=True)
class _NothingSent:
    """A meter that lets no call out of the process."""

    stand_in: _StandIn
    holder: str = "estimate"

    async def admit(self, intent: CallRecord, lm: LM, request: LMRequest) -> None:  # noqa: ARG002 - the protocol's
        if lm is not self.stand_in:
            self.stand_in.asked.append((request, count_prompt_tokens(request.messages[-1:])))
            raise _NotSentError

    def ended(self, record: CallRecord, reserved: object) -> None:
        """Nothing to settle."""


def _client_or_name(program: Program) -> LM | str:
    """Return the client, which may have a price of its own; the name where a key or an address is missing."""
    try:
        return program.lm
    except ConfigurationError:
        return _model_name(program)


def _model_name(program: Program) -> str:
    chosen = chosen_lm(program.lm_name)
    return chosen if isinstance(chosen, str) else chosen.model


async def _looked(program: Program, examples: Sequence[Example]) -> list[tuple[LMRequest, int]]:
    stand_in = _StandIn(_model_name(program))
    dry = program.with_lm(stand_in).with_cache("off")
    with metered(_NothingSent(stand_in)):
        for example in examples:
            try:
                await dry.acall(example.input)
            except Exception:  # noqa: BLE001, S112 - the program's own code, on answers that mean nothing
                continue  # what was asked until then counts
    return stand_in.asked


async def _asked(program: Program, examples: Sequence[Example], metric: Metric) -> CallLog:
    with recording() as log:
        try:
            await evaluate_rows(program, examples, metric)
        finally:
            await program.aclose()
            await close_metric(metric)
    return log


def _guessed_row(asked: Sequence[tuple[LMRequest, int]], rows: int, prices: Sequence[Price | None]) -> _Row:
    """Return what a row takes by prompts that were counted and replies that were guessed."""
    calls = len(asked) / rows
    prompt = sum(count_prompt_tokens(request.messages) for request, _ in asked) / rows
    reply = sum(tokens for _, tokens in asked) / rows
    most = sum(request.max_tokens or tokens * _REPLY_HIGH for request, tokens in asked) / rows
    row = {
        "calls": Range(calls, calls, 2 * calls),  # each may be asked once more
        "prompt_tokens": Range(prompt / MARGIN, prompt, 2 * MARGIN * prompt),
        "completion_tokens": Range(reply / 2, reply, max(2 * most, reply)),
    }
    return {**row, "cost_usd": _cost(row["prompt_tokens"], row["completion_tokens"], prices)}


_Row = dict[str, Range | None]


def _sampled_row(log: CallLog, rows: int) -> _Row:
    """Return what a row takes by rows that were really scored."""
    by_row: dict[int, list[CallRecord]] = {row: [] for row in range(rows)}
    for record in log.records:
        by_row[record.row or 0].append(record)
    each = list(by_row.values())
    unpriced = any(record.cost_usd is None and record.status == "ok" for record in log.records)
    return {
        "calls": _mean([len(records) for records in each]),
        "prompt_tokens": _mean([sum(one.prompt_tokens for one in records) for records in each]),
        "completion_tokens": _mean([sum(one.completion_tokens for one in records) for records in each]),
        "cost_usd": None if unpriced else _mean([sum(one.cost_usd or 0.0 for one in records) for records in each]),
    }


def _mean(values: Sequence[float]) -> Range:
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Range(mean / _FEW, mean, mean * _FEW)
    off = _SURE * statistics.stdev(values) / math.sqrt(len(values))
    return Range(max(0.0, mean - off), mean, mean + off)


def _with_demos(row: _Row, program: Program, dataset: Dataset, prices: Sequence[Price | None]) -> _Row:
    """Add the demonstrations of an optimisation's candidates: none at least, half of the most likely."""
    shown = sum(variable.max for variable in program.space().variables.values() if isinstance(variable, Demos))
    prompt, calls, cost = row["prompt_tokens"], row["calls"], row["cost_usd"]
    if not shown or prompt is None or calls is None:
        return row
    texts = [json.dumps([example.input, example.output], default=str) for example in _spread(dataset, _LOOKED_AT)]
    one = statistics.fmean(count_tokens(text) + _DEMO_WRAPPING for text in texts)
    demos = Range(0.0, calls.likely * shown * one / 2, calls.high * shown * one * MARGIN)
    more = None if cost is None else _cost(demos, Range(0.0, 0.0, 0.0), prices)
    return {
        **row,
        "prompt_tokens": _sum(prompt, demos),
        "cost_usd": None if cost is None or more is None else _sum(cost, more),
    }


def _cost(prompt: Range, reply: Range, prices: Sequence[Price | None]) -> Range | None:
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return None
    costs = [
        [price.prompt_usd * getattr(prompt, end) + price.completion_usd * getattr(reply, end) for price in known]
        for end in ("low", "likely", "high")
    ]
    return Range(min(costs[0]), costs[1][0], max(costs[2]))


def _sum(first: Range, second: Range) -> Range:
    return Range(first.low + second.low, first.likely + second.likely, first.high + second.high)


def _spread(dataset: Dataset, count: int) -> Sequence[Example]:
    """Return so many examples, evenly spread over the data."""
    step = max(1, len(dataset) // count)
    return dataset.examples[::step][:count]
