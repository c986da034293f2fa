"""Evaluation: a program's score on labelled rows, with an interval, the errors and the bill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dspex_coordination.errors import CoordinationError
from dspex_ray.calls import recording, tagged
from dspex_ray.data import Dataset, load_data
from dspex_ray.demos import held_out
from dspex_ray.errors import LMContextWindowError, LMError, UsageError
from dspex_ray.example import Example
from dspex_ray.metrics import Metric, MetricError, default_metric, resolve_metric, score
from dspex_ray.problems import shown
from dspex_ray.program import Program, refuse_running_loop

_REFUSED_REQUEST = (400, 413, 422)  # HTTP statuses that blame this one request, not the model's reachability

Progress = Callable[[int, int], None]
"""Called after each row with (rows done, rows in all), on the event loop; what it raises stops the evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowScore:
    """One row's result. `row` is its position; `output` is JSON, None if the program gave none."""

    row: int
    example_id: str
    score: float
    output: Any = None
    error: str | None = None
    cost_usd: float = 0.0
    calls: int = 0
    unpriced_calls: int = 0
    latency_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The mean score of all rows with its 95 % interval. `cost_usd` leaves out `unpriced_calls`."""

    accuracy: float
    low: float
    high: float
    rows: int
    errors: int
    cost_usd: float
    calls: int
    unpriced_calls: int
    wall_s: float
    scores: tuple[RowScore, ...] = field(repr=False)

    @property
    def mean(self) -> float:
        """The mean score: the accuracy where the metric gives 0 or 1."""
        return self.accuracy

    def to_json(self, *, with_scores: bool = False) -> dict[str, Any]:
        """Return the figures as JSON, the rows' own only if asked for."""
        figures = asdict(self)
        if not with_scores:
            del figures["scores"]
        return figures


def is_infrastructure(error: BaseException) -> bool:
    """Whether an error says nothing about the program: the model was out of reach, refused the key or is unknown.

    A request the model refuses for its content or size is the program's fault and scores 0.
    """
    if not isinstance(error, LMError) or isinstance(error, LMContextWindowError):
        return False
    return error.retryable or error.status not in _REFUSED_REQUEST


async def evaluate_rows(
    program: Program,
    examples: Sequence[Example],
    metric: Metric,
    *,
    rows: Sequence[int] | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> list[RowScore]:
    """Return one score for each example, in their order; `rows` are their numbers if not 0, 1, 2, ...

    A row whose output never became valid, or whose program raised, scores 0 with the error. An example that is in the
    program's demonstration pool is not shown to itself. Raises LMError for an unreachable or refusing model,
    UsageError for the caller's mistake and MetricError for a broken metric: none of these is a score. The first
    such error stops the rows under way.
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
            scores[position] = await _score_row(program, example, metric, row)
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


async def _score_row(program: Program, example: Example, metric: Metric, row: int) -> RowScore:
    started = time.perf_counter()
    output, error, value = None, None, 0.0
    with recording() as log, tagged(row=row), held_out(example):
        try:
            output = await program.acall(example.input)
        except (UsageError, CoordinationError, MetricError):
            raise
        except Exception as failure:
            if is_infrastructure(failure):
                raise
            error = f"{type(failure).__name__}: {failure}"  # the program's own failure is its score
        else:
            value = await score(metric, example, output, row)
    return RowScore(
        row=row,
        example_id=example.id,
        score=value,
        output=None if output is None else output.model_dump(mode="json"),
        error=error,
        cost_usd=log.cost_usd,
        calls=len(log.records),
        unpriced_calls=sum(record.cost_usd is None for record in log.records),
        latency_s=time.perf_counter() - started,
    )


async def aevaluate(
    program: Program,
    data: Any,
    *,
    metric: str | Metric | None = None,
    mapping: Mapping[str, str] | None = None,
    limit: int | None = None,
    concurrency: int = 16,
    progress: Progress | None = None,
) -> Evaluation:
    """Return the program's score on `data` (see `load_data`), the first `limit` rows of it if given.

    The metric is a name, a function or, by default, `exact` on the output fields the data gives. Raises what
    `load_data` and `evaluate_rows` raise.
    """
    if not isinstance(program, Program):
        raise UsageError(f"evaluate needs a program instance, such as Route(), got {shown(program)}.")
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}.")
    dataset: Dataset = load_data(data, type(program), mapping=mapping)
    chosen = default_metric(type(program), dataset) if metric is None else resolve_metric(metric)
    examples = dataset.examples if limit is None else dataset.examples[:limit]
    started = time.perf_counter()
    scores = await evaluate_rows(program, examples, chosen, concurrency=concurrency, progress=progress)
    return summarize(scores, time.perf_counter() - started)


def summarize(scores: Sequence[RowScore], wall_s: float) -> Evaluation:
    """Return the figures of the rows. Raises UsageError without any."""
    from dspex_ray.intervals import interval  # noqa: PLC0415 - numpy, only once there are scores

    values = [one.score for one in scores]
    low, high = interval(values)
    return Evaluation(
        accuracy=sum(values) / len(values),
        low=low,
        high=high,
        rows=len(scores),
        errors=sum(one.error is not None for one in scores),
        cost_usd=sum(one.cost_usd for one in scores),
        calls=sum(one.calls for one in scores),
        unpriced_calls=sum(one.unpriced_calls for one in scores),
        wall_s=wall_s,
        scores=tuple(scores),
    )


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
    """Return the program's score on `data`, from code without an event loop; see `aevaluate`."""
    refuse_running_loop("evaluate(...)", "await aevaluate(...)")

    async def once() -> Evaluation:
        try:
            return await aevaluate(
                program,
                data,
                metric=metric,
                mapping=mapping,
                limit=limit,
                concurrency=concurrency,
                progress=progress,
            )
        finally:
            if isinstance(program, Program):
                await program.aclose()

    return asyncio.run(once())
