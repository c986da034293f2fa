"""What a task agent of a program does: answer inputs, and score candidates on rows of the data."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from dspex_agents import AgentContext
from dspex_coordination.sweep import EvaluateRows, RowResult, RowsEvaluated
from dspex_ray.calls import CallLog, metered, recording, tagged
from dspex_ray.calls.buffer import CallBuffer, Row
from dspex_ray.calls.ledger_agent import LEDGER, GetVersion, RecordCalls
from dspex_ray.calls.ledger_meter import LedgerMeter, ledger_of
from dspex_ray.demos import DemoPool
from dspex_ray.errands import run_errand
from dspex_ray.errors import UsageError
from dspex_ray.evaluation import RowScore, evaluate_rows, is_infrastructure
from dspex_ray.example import Example
from dspex_ray.lm.base import LM
from dspex_ray.lm.limits.lender import SHARED_LENDER, AgentLender
from dspex_ray.metrics import Metric, close_metric
from dspex_ray.parcel import Parcel
from dspex_ray.programs.model_source import ModelSource
from dspex_ray.programs.program import Program
from dspex_ray.programs.teaching import TeacherSource, taught_by
from dspex_ray.prompting.rollouts import rollout
from dspex_ray.store import Version
from dspex_ray.tracing import Span, TracingSettings, flush, span
from dspex_ray.tracing.joining import LedgerSpans, join

AS_STARTED = 0
"""The number that stands for the program an agent was started with; versions begin at 1."""

_VERSION_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Predict:
    """Answer one input, given by field name."""

    values: Mapping[str, Any]
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """The output as JSON, and what its model calls cost (None when a price is not known)."""

    output: dict[str, Any]
    cost_usd: float | None
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What candidates are scored with: the rows of both splits, the metric, and the pool demonstrations come from."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    metric: Metric
    concurrency: int = 16
    prompt_lm: str | LM | None = None
    """The model that runs errands; by default the program's own."""
    teacher: str | LM | None = None
    """The model that evaluates rows with `teacher`."""


class WorkLostError(Exception):
    """The model was out of reach, or a budget used up: nothing was learnt of the candidate, others get the rows."""

    retryable = True


class ProgramWorker:
    """One copy of a program in the process of its agent."""

    def __init__(
        self,
        program: Parcel,
        bench: Parcel | None = None,
        version: str | None = None,
        tracing: Parcel | None = None,
    ) -> None:
        """Unpack the program and, for a search, the bench. Raises ProgramError when either cannot be restored.

        `tracing` holds how a process of its own is to trace; without it that of this process holds.
        """
        self._program: Program = program.open()
        self._first, self._first_version = self._program, version
        self._used = [self._program]  # each may have a model of its own, to be closed at the end
        self._bench: Bench | None = bench.open() if bench is not None else None
        self._pool = DemoPool(self._bench.train) if self._bench else None
        self._version = version
        self._tracing: TracingSettings | None = tracing.open() if tracing is not None else None
        self._buffer: CallBuffer | None = None
        self._lender: AgentLender | None = None
        self._meter: LedgerMeter | None = None
        self._context: AgentContext | None = None
        self._prompt_source: ModelSource | None = None
        self._teacher: TeacherSource | None = None

    async def start(self, context: AgentContext) -> None:
        """Begin to send the records of model calls to the ledger, and to share budgets and limits with the system."""
        self._context, self._buffer, self._lender = context, CallBuffer(LedgerSink(context)), AgentLender(context)
        await self._buffer.start()
        self._meter = LedgerMeter(ledger_of(context), context.clock)
        await self._meter.start()
        SHARED_LENDER.offer(self._lender)
        if self._tracing is not None:
            join(self._tracing, LedgerSpans(context))

    async def apply(self, values: int) -> None:
        """Answer with another version of the program from the next input on; 0 is the one that was started.

        What runs ends with the version it began with.
        """
        if values == AS_STARTED:
            self._program, self._version = self._first, self._first_version
            return
        if self._context is None:
            raise UsageError("start(context) comes first.")
        asked = GetVersion(self._first.path, values)
        found: Version = await self._context.ask(LEDGER, asked, timeout_s=_VERSION_TIMEOUT_S, retry_safe=True)
        self._program, self._version = self._first.with_state(found.state or {}), str(found.number)
        if self._program.lm_name != self._first.lm_name:
            self._used.append(self._program)

    async def perform(self, payload: Any) -> Any:
        """Answer a `Predict` with `Predicted`, an `EvaluateRows` with `RowsEvaluated`."""
        match payload:
            case Predict():
                return await self._predict(payload)
            case EvaluateRows():
                return await self._evaluate(payload)
            case _:
                raise NotImplementedError(f"A program's agent takes no {type(payload).__name__}.")

    async def stop(self) -> None:
        """Send the last records, close the model's connections and give back what was lent of its limits.

        Whatever one of these raises, the others are done all the same.
        """
        async with AsyncExitStack() as last_first:
            if self._meter is not None:
                last_first.push_async_callback(self._meter.stop)
            if self._lender is not None:
                last_first.callback(SHARED_LENDER.withdraw, self._lender)
            if self._bench is not None:
                last_first.push_async_callback(close_metric, self._bench.metric)
                for lm in (self._bench.prompt_lm, self._bench.teacher):
                    if lm is not None and not isinstance(lm, str):
                        last_first.push_async_callback(lm.aclose)  # a copy: it came with the bench
            for source in (self._prompt_source, self._teacher):
                if source is not None:
                    last_first.push_async_callback(source.aclose)
            for program in self._used:
                last_first.push_async_callback(program.aclose)
            if self._tracing is not None:
                last_first.push_async_callback(asyncio.to_thread, flush)
            if self._buffer is not None:
                last_first.push_async_callback(self._buffer.close)

    async def _predict(self, question: Predict) -> Predicted:
        program, version = self._program, self._version  # another version may come meanwhile
        with recording() as log, tagged(version=version, request_id=question.request_id), self._metered(), self._span():
            try:
                output = await program.acall(question.values)
            finally:
                self._keep(log)
        unpriced = any(record.cost_usd is None for record in log.records)
        return Predicted(output.model_dump(mode="json"), None if unpriced else log.cost_usd, len(log.records))

    @contextmanager
    def _metered(self) -> Iterator[None]:
        """Hold the budgets of the calls made within, which are this agent's."""
        if self._meter is None or self._context is None:
            yield
            return
        with metered(self._meter.meter), tagged(agent=self._context.name):
            yield

    def _span(self) -> Span:
        return span("agent", self._context.name if self._context is not None else "worker")

    def _keep(self, log: CallLog) -> None:
        if self._buffer is not None:
            self._buffer.put([record.as_row() for record in log.records])

    async def _evaluate(self, work: EvaluateRows) -> RowsEvaluated:
        if self._bench is None or self._pool is None:
            raise NotImplementedError("This agent was started to answer, not to search: it has no data.")
        if work.split == "errand":
            return await self._run_errand(work, self._bench)
        program = self._program.with_demo_pool(self._pool).with_values(work.candidate_values)
        if work.teacher:
            program = taught_by(program, self._teaching(self._bench))
        split = self._bench.train if work.split == "train" else self._bench.validation
        repeats = rollout(work.trial if work.fresh else 0)
        with repeats, recording() as log, tagged(run_id=work.run_id, trial=work.trial), self._metered(), self._span():
            try:
                scores = await evaluate_rows(
                    program,
                    [split[row] for row in work.rows],
                    self._bench.metric,
                    rows=work.rows,
                    concurrency=self._bench.concurrency,
                    traced=work.traced,
                )
            except BaseException as error:
                self._keep(log)  # no rows will carry these calls to the store, and they are paid for all the same
                if is_infrastructure(error):
                    raise WorkLostError(f"{type(error).__name__}: {error}") from error
                raise
        rows = tuple(_row_result(one) for one in scores)
        return RowsEvaluated(rows, tuple(record.as_row() for record in log.records))

    async def _run_errand(self, work: EvaluateRows, bench: Bench) -> RowsEvaluated:
        with recording() as log, tagged(run_id=work.run_id, trial=work.trial), self._metered(), self._span():
            try:
                answer = await run_errand(work.candidate_values, self._errand_model(bench))
            except BaseException as error:
                self._keep(log)
                if is_infrastructure(error):
                    raise WorkLostError(f"{type(error).__name__}: {error}") from error
                raise
        row = RowResult(0, None, answer, log.cost_usd)
        return RowsEvaluated((row,), tuple(record.as_row() for record in log.records))

    def _teaching(self, bench: Bench) -> TeacherSource:
        if bench.teacher is None:
            raise UsageError("The optimizer asks for a teacher, and there is none: give optimize(teacher=...).")
        if self._teacher is None:
            self._teacher = TeacherSource.of(self._program, bench.teacher)
        return self._teacher

    def _errand_model(self, bench: Bench) -> LM:
        if bench.prompt_lm is None:
            return self._program.lm
        if not isinstance(bench.prompt_lm, str):
            return bench.prompt_lm
        if self._prompt_source is None:
            self._prompt_source = ModelSource(bench.prompt_lm)
        return self._prompt_source.client()


def _row_result(one: RowScore) -> RowResult:
    return RowResult(
        row=one.row,
        score=one.score,
        output=one.output,
        cost_usd=one.cost_usd,
        latency_s=one.latency_s,
        error=one.error,
        measures=one.measures,
        feedback=one.feedback,
        metric_cost_usd=one.metric_cost_usd,
        trace=one.steps,
        prompt_tokens=one.prompt_tokens,
    )


class LedgerSink:
    """Sends records to the system's ledger agent."""

    def __init__(self, context: AgentContext) -> None:
        self._context = context

    async def write(self, rows: list[Row]) -> None:
        """Return once the ledger has them; a repeated row is passed over there."""
        await self._context.ask(LEDGER, RecordCalls(tuple(rows)), timeout_s=10.0, retry_safe=True)
