"""Running a program over labelled rows: one score for each, in their order, whatever ends first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from dspex_coordination.canonical import canonical_json
from dspex_coordination.errors import CoordinationError
from dspex_ray.calls import CallLog, recording, tagged
from dspex_ray.data import Dataset, load_data
from dspex_ray.data_files import Take
from dspex_ray.demos import held_out
from dspex_ray.errors import UsageError
from dspex_ray.evaluation.interruption import EvaluationInterruptedError, Interruption
from dspex_ray.evaluation.result import Evaluation, RowScore, summarize
from dspex_ray.example import Example
from dspex_ray.infrastructure import is_infrastructure
from dspex_ray.metrics import (
    Metric,
    MetricError,
    Scored,
    close_metric,
    default_metric,
    metric_name,
    resolve_metric,
    scored,
)
from dspex_ray.problems import shown
from dspex_ray.programs.program import Program
from dspex_ray.prompting.steps import Steps, kept_steps
from dspex_ray.running_loop import refuse_running_loop
from dspex_ray.schema import literal_options
from dspex_ray.tracing.spans import span

Progress = Callable[[int, int], None]
"""Called after each row with (rows done, rows in all), on the event loop; what it raises stops the evaluation."""

Keep = Callable[[RowScore], None]
"""Called with each row as it ends, in no order."""


async def evaluate_rows(
    program: Program,
    examples: Sequence[Example],
    metric: Metric,
    *,
    rows: Sequence[int] | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
    keep: Keep | None = None,
    traced: bool = False,
) -> list[RowScore]:
    """Return one score for each example, in their order; `rows` are their numbers if not 0, 1, 2, ...

    A row whose output never became valid, or whose program raised, scores 0 with the error. An example that is in the
    program's demonstration pool is not shown to itself. Raises LMError for an unreachable or refusing model,
    UsageError for the caller's mistake and MetricError for a broken metric: none of these is a score. The first
    such error stops the rows under way. `keep` is told each row as it ends, so that nothing done is lost. With `traced`
    each row has its steps.
    """
    if concurrency < 1:
        raise UsageError(f"concurrency must be at least 1, got {concurrency}.")
    numbers = range(len(examples)) if rows is None else rows
    if len(numbers) != len(examples):
        raise UsageError(f"{len(examples)} examples need as many row numbers, got {len(numbers)}.")
    scores: dict[int, RowScore] = {}
    waiting = iter(enumerate(zip(numbers, examples, strict=True)))

    async def work(queue: Iterator[tuple[int, tuple[int, Example]]]) -> None:
        for position, (row, example) in queue:
            scores[position] = await _score_row(program, example, metric, row, traced=traced)
            if keep is not None:
                keep(scores[position])
            if progress is not None:
                progress(len(scores), len(examples))
            # a model in this process never waits: let the other rows and the caller's tasks have their turn
            await asyncio.sleep(0)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(examples))):
                group.create_task(work(waiting))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
    return [scores[position] for position in range(len(examples))]


async def _score_row(program: Program, example: Example, metric: Metric, row: int, *, traced: bool) -> RowScore:
    started = time.perf_counter()
    output, error, verdict = None, None, Scored(0.0)
    steps: Steps | None = None
    with recording() as log, tagged(row=row), held_out(example):
        try:
            with kept_steps() if traced else nullcontext() as steps:
                output = await program.acall(example.input)
        except (UsageError, CoordinationError, MetricError):
            raise
        except Exception as failure:
            if is_infrastructure(failure):
                raise
            error = f"{type(failure).__name__}: {failure}"  # the program's own failure is its score
        latency_s, own_calls, prompt_tokens = time.perf_counter() - started, len(log.records), log.asked_tokens
        if output is not None:
            verdict = await scored(metric, example, output, row)
    return RowScore(
        row=row,
        example_id=example.id,
        score=verdict.score,
        output=None if output is None else output.model_dump(mode="json"),
        error=error,
        cost_usd=log.cost_usd,
        calls=len(log.records),
        unpriced_calls=sum(record.cost_usd is None for record in log.records),
        latency_s=latency_s,
        prompt_tokens=prompt_tokens,
        feedback=error if verdict.feedback is None else verdict.feedback,
        measures=verdict.measures,
        metric_cost_usd=_cost_after(log, own_calls),
        steps=steps,
    )


def _cost_after(log: CallLog, calls: int) -> float:
    return sum(record.cost_usd or 0.0 for record in log.records[calls:])


async def aevaluate(
    program: Program,
    data: Any,
    *,
    metric: str | Metric | None = None,
    mapping: Mapping[str, str] | None = None,
    limit: int | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
    keep: Keep | None = None,
) -> Evaluation:
    """Return the program's score on `data` (see `load_data`), the first `limit` rows of it if given.

    The metric is a name (with options, as in `numeric(tolerance=0.01)`), a function or, by default, `exact` on the
    output fields the data gives. Its connections are closed at the end. The result is the same for any concurrency if
    the model's answers are. Raises what `load_data` and `evaluate_rows` raise.
    """
    dataset, chosen = _prepared(program, data, metric, mapping, limit)
    started = time.perf_counter()
    try:
        with span("step", f"evaluate {type(program).__name__}"):
            scores = await evaluate_rows(
                program, dataset.examples, chosen, concurrency=concurrency, progress=progress, keep=keep
            )
    finally:
        await close_metric(chosen)
    return summarize(scores, time.perf_counter() - started, dataset.examples, **_described(program, dataset, chosen))


def _prepared(
    program: Program, data: Any, metric: str | Metric | None, mapping: Mapping[str, str] | None, limit: int | None
) -> tuple[Dataset, Metric]:
    if not isinstance(program, Program):
        raise UsageError(f"evaluate needs a program instance, such as Route(), got {shown(program)}.")
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}.")
    take = None if limit is None else Take(limit=limit)
    dataset = load_data(data, type(program), mapping=mapping, take=take)
    chosen = default_metric(type(program), dataset) if metric is None else resolve_metric(metric)
    return dataset if limit is None else dataset.first(limit), chosen


def _described(program: Program, dataset: Dataset, metric: Metric) -> dict[str, Any]:
    fields = type(program).Output.model_fields
    pool = {canonical_json(example.input) for example in program.demo_pool.examples}
    leaked = sum(canonical_json(example.input) in pool for example in dataset.examples) if pool else 0
    return {
        "metric": metric_name(metric),
        "program": program.path,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "leaked_rows": leaked,
        "literals": {n: options for n in fields if (options := literal_options(type(program).Output, n)) is not None},
    }


def evaluate(
    program: Program,
    data: Any,
    *,
    metric: str | Metric | None = None,
    mapping: Mapping[str, str] | None = None,
    limit: int | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Evaluation:
    """Return the program's score on `data`, from code without an event loop; see `aevaluate`.

    Ctrl-C raises EvaluationInterruptedError, a KeyboardInterrupt that holds the rows done so far.
    """
    refuse_running_loop("evaluate(...)", "await aevaluate(...)")
    dataset, chosen = _prepared(program, data, metric, mapping, limit)
    done: list[RowScore] = []
    started, interruption = time.perf_counter(), Interruption()

    async def once() -> Evaluation:
        try:
            with interruption.cancels(asyncio.current_task()):
                return await aevaluate(
                    program, dataset, metric=chosen, concurrency=concurrency, progress=progress, keep=done.append
                )
        finally:
            await program.aclose()

    try:
        return asyncio.run(once())
    except (KeyboardInterrupt, asyncio.CancelledError) as stopped:
        if isinstance(stopped, asyncio.CancelledError) and not interruption.pressed:
            raise
        partial = _partial(done, program, dataset, chosen, time.perf_counter() - started)
        raise EvaluationInterruptedError(partial, len(dataset)) from stopped


def _partial(
    done: Sequence[RowScore], program: Program, dataset: Dataset, metric: Metric, wall_s: float
) -> Evaluation | None:
    rows = sorted(done, key=lambda one: one.row)
    kept = [dataset.examples[one.row] for one in rows]
    return summarize(rows, wall_s, kept, **_described(program, dataset, metric)) if rows else None
