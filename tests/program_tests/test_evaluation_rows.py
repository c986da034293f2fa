from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dspex_ray.calls import recording
from dspex_ray.data import load_data
from dspex_ray.demos import DemoPool
from dspex_ray.errors import (
    ConfigurationError,
    LMAuthError,
    LMConnectionError,
    LMContextWindowError,
    LMError,
    LMRateLimitError,
    UsageError,
)
from dspex_ray.evaluation import evaluate, evaluate_rows
from dspex_ray.intervals import wilson
from dspex_ray.lm.base import LMRequest
from dspex_ray.metrics import MetricError, exact
from dspex_ray.programs.program import Program

ROWS = [{"message": f"m{i}", "intent": ("cash", "card", "rate")[i % 3]} for i in range(30)]


def _right(request: LMRequest) -> str:
    number = int(request.messages[-1].content[1:])
    return f'{{"intent": "{("cash", "card", "rate")[number % 3]}"}}'


def _half_right(request: LMRequest) -> str:
    return _right(request) if int(request.messages[-1].content[1:]) % 2 else '{"intent": "cash", "confidence": 0.5}'


def test_the_score_has_wilsons_interval_and_the_whole_bill(route: type[Program], scripted: Any) -> None:
    result = evaluate(route().with_lm(scripted(_half_right)), ROWS)
    assert result.accuracy == result.mean == 20 / 30
    assert (result.low, result.high) == wilson(20, 30)
    assert (result.rows, result.errors, result.calls, result.cost_usd) == (30, 0, 30, 15.0)
    assert "scores" not in result.to_json()
    assert result.to_json(with_scores=True)["scores"][1]["output"] == {"intent": "card", "confidence": 1.0}


def test_rows_keep_their_order_whatever_ends_first(route: type[Program], scripted: Any) -> None:
    class Slow(scripted):  # type: ignore[misc]
        async def complete(self, request: LMRequest) -> Any:
            for _ in range(40 - int(request.messages[-1].content[1:])):
                await asyncio.sleep(0)
            return await super().complete(request)

    data = load_data(ROWS, route)
    program = route().with_lm(Slow(_right))
    scores = asyncio.run(evaluate_rows(program, data.examples, exact, rows=range(100, 130), concurrency=30))
    assert [score.row for score in scores] == list(range(100, 130))
    assert [score.example_id for score in scores] == [example.id for example in data.examples]


def test_no_more_rows_than_allowed_run_at_once(route: type[Program], scripted: Any) -> None:
    running, most = 0, 0

    class Counting(scripted):  # type: ignore[misc]
        async def complete(self, request: LMRequest) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return await super().complete(request)

    evaluate(route().with_lm(Counting(_right)), ROWS, concurrency=5)
    assert most == 5


def test_an_output_that_never_validates_scores_0_with_its_error(route: type[Program], scripted: Any) -> None:
    def answer(request: LMRequest) -> str:
        return "nonsense" if any(m.content == "m4" for m in request.messages) else _right(request)

    result = evaluate(route().with_lm(scripted(answer)), ROWS)
    assert (result.errors, result.calls) == (1, 31)
    bad = result.scores[4]
    assert (bad.score, bad.output) == (0.0, None)
    assert bad.error is not None
    assert bad.error.startswith("OutputError: ")


def test_a_program_that_raises_scores_0(route: type[Program]) -> None:
    class Failing(route):  # type: ignore[misc,valid-type]
        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            raise KeyError("oops")

    result = evaluate(Failing(), ROWS[:2])
    assert (result.accuracy, result.errors) == (0.0, 2)
    assert result.scores[0].error == "KeyError: 'oops'"


@pytest.mark.parametrize(
    "error",
    [
        LMAuthError("no key"),
        LMConnectionError("cut"),
        LMRateLimitError("slow down"),
        LMError("no such model", status=404),
        ConfigurationError("no address"),
    ],
)
def test_an_unreachable_or_refusing_model_is_never_a_score(
    error: Exception, route: type[Program], scripted: Any
) -> None:
    with pytest.raises(type(error), match=str(error)):
        evaluate(route().with_lm(scripted(_right, error)), ROWS)


@pytest.mark.parametrize("error", [LMContextWindowError("too long"), LMError("refused content", status=400)])
def test_a_request_the_model_refuses_for_its_content_scores_0(
    error: Exception, route: type[Program], scripted: Any
) -> None:
    result = evaluate(route().with_lm(scripted(error)), ROWS[:3])
    assert (result.accuracy, result.errors) == (0.0, 3)


def test_a_broken_metric_stops_the_evaluation(route: type[Program], scripted: Any) -> None:
    def broken(example: Any, output: Any) -> float:
        return float("nan")

    with pytest.raises(MetricError, match="Metric broken gave nan on row 0"):
        evaluate(route().with_lm(scripted(_right)), ROWS, metric=broken)


def test_one_fatal_row_cancels_those_under_way(route: type[Program], scripted: Any) -> None:
    ended: list[str] = []

    class Waiting(scripted):  # type: ignore[misc]
        async def complete(self, request: LMRequest) -> Any:
            if request.messages[-1].content == "m3":
                raise LMAuthError("no key")
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(request.messages[-1].content)

    with pytest.raises(LMAuthError):
        evaluate(route().with_lm(Waiting("")), ROWS, concurrency=4)
    assert sorted(ended) == ["m0", "m1", "m2"]


def test_progress_is_told_after_each_row(route: type[Program], scripted: Any) -> None:
    seen: list[tuple[int, int]] = []
    evaluate(route().with_lm(scripted(_right)), ROWS, limit=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_recording_around_an_evaluation_sees_each_call_with_its_row(route: type[Program], scripted: Any) -> None:
    with recording() as log:
        evaluate(route().with_lm(scripted(_right)), ROWS)
    assert sorted(record.row for record in log.records if record.row is not None) == list(range(30))


def test_a_row_of_the_pool_is_not_its_own_demonstration(route: type[Program]) -> None:
    data = load_data([{"message": "same words here", "intent": i} for i in ("cash", "card")], route)
    program = route().with_demo_pool(DemoPool(data.examples)).with_values({"demos": {"select": "nearest", "k": 1}})
    assert [score.output["intent"] for score in evaluate(program, data).scores] == ["card", "cash"]


def test_graded_scores_have_a_bootstrap_interval(route: type[Program], scripted: Any) -> None:
    def graded(example: Any, output: Any) -> float:
        return int(example.input["message"][1:]) / 29

    result = evaluate(route().with_lm(scripted(_right)), ROWS, metric=graded)
    assert result.low < result.accuracy < result.high
    assert result.accuracy == pytest.approx(0.5)


def test_wrong_arguments_are_refused(route: type[Program]) -> None:
    with pytest.raises(UsageError, match=r"program instance, such as Route\(\)"):
        evaluate(route, ROWS)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="limit"):
        evaluate(route(), ROWS, limit=0)
    with pytest.raises(UsageError, match="concurrency"):
        evaluate(route(), ROWS, concurrency=0)

    async def inside() -> None:
        evaluate(route(), ROWS)

    with pytest.raises(UsageError, match="await aevaluate"):
        asyncio.run(inside())
