"""Ctrl-C during an evaluation, feedback and measures of rows, and the same result for any concurrency."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import pytest

from dspex_ray.data import load_data
from dspex_ray.demos import DemoPool
from dspex_ray.errors import LMServerError
from dspex_ray.evaluation import EvaluationInterruptedError, RowScore, aevaluate, evaluate
from dspex_ray.lm.base import LMRequest
from dspex_ray.metrics import Scored
from dspex_ray.programs.program import Program

ROWS = [{"message": f"m{i}", "intent": ("cash", "card", "rate")[i % 3]} for i in range(30)]


def _answer(request: LMRequest) -> str:
    number = int(request.messages[-1].content[1:])
    return f'{{"intent": "{("cash", "card", "rate")[number % 4 % 3]}"}}'


def _press_after(rows: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == rows:
            signal.raise_signal(signal.SIGINT)

    return progress


@pytest.mark.parametrize("concurrency", [1, 7])
def test_ctrl_c_keeps_the_rows_done_so_far(route: type[Program], scripted: Any, concurrency: int) -> None:
    whole = evaluate(route().with_lm(scripted(_answer)), ROWS)
    with pytest.raises(EvaluationInterruptedError) as caught:
        evaluate(route().with_lm(scripted(_answer)), ROWS, progress=_press_after(12), concurrency=concurrency)
    kept = caught.value.evaluation
    assert kept is not None
    assert 12 <= kept.rows < 30
    assert str(caught.value).startswith(f"Interrupted after {kept.rows} of 30 rows. Their mean score is 0.")
    assert [one.score for one in kept.scores] == [whole.scores[one.row].score for one in kept.scores]
    assert [example.id for example in kept.examples] == [one.example_id for one in kept.scores]


def test_ctrl_c_before_the_first_row_keeps_none(route: type[Program], scripted: Any) -> None:
    class Waiting(scripted):  # type: ignore[misc]
        async def complete(self, request: LMRequest) -> Any:
            signal.raise_signal(signal.SIGINT)  # from every row: only the first one counts
            await asyncio.Event().wait()

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(EvaluationInterruptedError, match=r"^Interrupted after 0 of 30 rows\.$") as caught:
        evaluate(route().with_lm(Waiting("")), ROWS)
    assert signal.getsignal(signal.SIGINT) is before
    assert caught.value.evaluation is None


def test_it_is_a_keyboard_interrupt_that_no_except_exception_swallows() -> None:
    assert issubclass(EvaluationInterruptedError, KeyboardInterrupt)
    assert not issubclass(EvaluationInterruptedError, Exception)


def test_rows_already_paid_for_reach_the_caller_when_the_model_fails(route: type[Program], scripted: Any) -> None:
    def answer(request: LMRequest) -> Any:
        return LMServerError("down") if request.messages[-1].content == "m9" else _answer(request)

    kept: list[RowScore] = []

    async def run() -> None:
        await aevaluate(route().with_lm(scripted(answer)), ROWS, concurrency=1, keep=kept.append)

    with pytest.raises(LMServerError):
        asyncio.run(run())
    assert [one.row for one in kept] == list(range(9))


def test_the_result_is_the_same_for_any_concurrency(route: type[Program], scripted: Any) -> None:
    class Jittery(scripted):  # type: ignore[misc]
        rng = random.Random(7)

        async def complete(self, request: LMRequest) -> Any:
            for _ in range(self.rng.randrange(6)):
                await asyncio.sleep(0)
            return await super().complete(request)

    async def metric(example: Any, output: Any) -> Scored:
        await asyncio.sleep(0)
        right = output.intent == example.output["intent"]
        return Scored(
            0.9 if right else 0.2, f"about {example.input['message']}", {"n": int(example.input["message"][1:])}
        )

    found = [
        evaluate(route().with_lm(Jittery(_answer)), ROWS, metric=metric, concurrency=concurrency)
        for concurrency in (1, 2, 30, 1000)
    ]
    assert len({(one.accuracy, one.low, one.high, one.cost_usd, one.measures["n"]) for one in found}) == 1
    assert len({tuple((row.row, row.score, row.feedback) for row in one.scores) for one in found}) == 1
    assert found[0].scores[5].feedback == "about m5"


def test_the_latency_is_the_programs_without_the_metrics(route: type[Program], scripted: Any) -> None:
    async def slow(example: Any, output: Any) -> float:
        await asyncio.sleep(0.2)
        return 1.0

    result = evaluate(route().with_lm(scripted(_answer)), ROWS, metric=slow, limit=1)
    assert result.scores[0].latency_s < 0.2 <= result.wall_s


def test_an_evaluation_knows_what_was_measured(route: type[Program], scripted: Any) -> None:
    result = evaluate(route().with_lm(scripted(_answer)), ROWS, limit=5)
    assert (result.metric, result.source) == ("Exact", "the list")
    assert result.program.endswith(":RouteProgram")
    assert len(result.fingerprint) == 64
    assert result.literals == {"intent": ("cash", "card", "rate")}


def test_rows_that_are_demonstrations_are_counted(route: type[Program], scripted: Any) -> None:
    pool = DemoPool(load_data(ROWS[:4], route).examples)
    program = route().with_lm(scripted('{"intent": "cash"}')).with_demo_pool(pool)
    assert evaluate(program, ROWS).leaked_rows == 4
    assert evaluate(program, ROWS[4:]).leaked_rows == 0


def test_a_metrics_connections_are_closed_once_the_evaluation_ends(route: type[Program], scripted: Any) -> None:
    closed: list[str] = []

    class Connected:
        def __call__(self, example: Any, output: Any) -> float:
            return 1.0

        async def aclose(self) -> None:
            closed.append("closed")

    evaluate(route().with_lm(scripted(_answer)), ROWS, metric=Connected(), limit=3)
    assert closed == ["closed"]
