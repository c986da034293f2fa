"""DSPy, asked the same questions: its own Evaluate on threads, or its async calls on one loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import dspy
from side import Figures

from programs_bench.questions import answer, question, stopwatch


class Lookup(dspy.Signature):
    """Answer the question with one word."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


def _right(example: Any, prediction: Any, _trace: Any = None) -> bool:
    return bool(example.answer == prediction.answer)


def _examples(count: int) -> list[Any]:
    return [dspy.Example(question=question(i), answer=answer(i)).with_inputs("question") for i in range(count)]


def _lm(url: str) -> Any:
    return dspy.LM("openai/quick", api_base=url, api_key="unused", cache=False)


def evaluate(url: str, count: int, at_once: int) -> Figures:
    """Evaluate with `dspy.Evaluate` on so many threads."""
    examples = _examples(count)
    with dspy.context(lm=_lm(url), track_usage=False):
        run = dspy.Evaluate(devset=examples, metric=_right, num_threads=at_once, display_progress=False)
        with stopwatch(count) as figures:
            score = run(dspy.Predict(Lookup)).score
    assert score == 100.0, score
    return figures


def evaluate_async(url: str, count: int, at_once: int) -> Figures:
    """Evaluate with `acall` of so many tasks; DSPy has no evaluation of its own for this."""
    examples = _examples(count)

    async def run() -> list[bool]:
        program, waiting, right = dspy.Predict(Lookup), iter(examples), list[bool]()

        async def work() -> None:
            for example in waiting:
                right.append(_right(example, await program.acall(**example.inputs())))

        await asyncio.gather(*(work() for _ in range(at_once)))
        return right

    with dspy.context(lm=_lm(url)), stopwatch(count) as figures:
        right = asyncio.run(run())
    assert all(right)
    assert len(right) == count
    return figures


def cached(url: str, count: int) -> Figures:
    """Ask one question again and again; the reply is kept in memory. Microseconds an example."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    program = dspy.Predict(Lookup)
    with dspy.context(lm=dspy.LM("openai/quick", api_base=url, api_key="unused", cache=True)):
        program(question=question(0))
        started = time.perf_counter()
        for _ in range(count):
            program(question=question(0))
        spent_s = time.perf_counter() - started
    return {"us": 1e6 * spent_s / count}
