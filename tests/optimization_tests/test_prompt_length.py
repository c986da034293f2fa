"""The length of a row's prompts: what it counts, and that neither a cache nor a silent provider changes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dspex_ray as dspex
from dspex_coordination.sweep import SweepStore
from dspex_ray.demos import DemoPool
from dspex_ray.errors import LMContextWindowError
from dspex_ray.example import make_example
from dspex_ray.lm.base import LMReply, LMRequest, Usage
from dspex_ray.lm.tokens import count_prompt_tokens
from dspex_ray.store import Store

ROWS = [{"question": f"is {n} even?", "answer": "yes"} for n in range(6)]


class Yes:
    """Answers yes; with `counts` it says how long the prompt was, in its own way."""

    model = "test/yes"

    def __init__(self, *, counts: bool) -> None:
        self.counts = counts
        self.asked: list[LMRequest] = []

    async def complete(self, request: LMRequest) -> LMReply:
        self.asked.append(request)
        usage = Usage(prompt_tokens=_own_count(request)) if self.counts else Usage()
        return LMReply(text='{"answer": "yes"}', model=self.model, usage=usage, cost_usd=0.1)

    def stream(self, request: LMRequest) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None: ...


def _own_count(request: LMRequest) -> int:
    return 1000 + sum(len(message.content) for message in request.messages)


class Asker(dspex.Program):
    """Answer the question."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    demos = dspex.Demos(max=2)


def lengths(program: dspex.Program, **options: Any) -> list[int]:
    return [one.prompt_tokens for one in dspex.evaluate(program, ROWS, **options).scores]


def test_a_longer_instruction_and_each_demonstration_make_the_prompts_longer() -> None:
    program = Asker().with_lm(Yes(counts=True))
    pool = DemoPool([make_example({"question": "is 90 even?"}, {"answer": "yes"}, None)])
    told = program.with_instructions({"": "Answer the question. Think twice before you do, and say yes or no."})
    shown = program.with_demo_pool(pool).with_values({"demos": {"select": "fixed", "ids": list(pool.ids)}})
    assert max(lengths(program)) < min(lengths(told))
    assert max(lengths(program)) < min(lengths(shown))


def test_the_providers_count_is_taken_and_else_the_estimate() -> None:
    counting, silent = Yes(counts=True), Yes(counts=False)
    assert lengths(Asker().with_lm(counting)) == [_own_count(one) for one in counting.asked]
    assert lengths(Asker().with_lm(silent)) == [count_prompt_tokens(one.messages) for one in silent.asked]


@pytest.mark.parametrize("counts", [True, False])
def test_an_answer_from_a_cache_has_the_length_of_the_first(tmp_path: Path, *, counts: bool) -> None:
    lm = Yes(counts=counts)
    program = Asker().with_lm(lm).with_cache(str(tmp_path))
    first = lengths(program)
    assert lengths(program) == lengths(Asker().with_lm(Yes(counts=counts)).with_cache(str(tmp_path))) == first
    assert len(lm.asked) == len(ROWS)


def test_equal_questions_at_the_same_time_have_the_same_length() -> None:
    lm = Yes(counts=True)
    result = dspex.evaluate(Asker().with_lm(lm).with_cache("memory"), [ROWS[0]] * 5)
    assert len(lm.asked) == 1
    assert {one.prompt_tokens for one in result.scores} == {_own_count(lm.asked[0])}


def test_a_prompt_that_the_model_refuses_is_as_long_as_it_is() -> None:
    class Refusing(Yes):
        async def complete(self, request: LMRequest) -> LMReply:
            self.asked.append(request)
            raise LMContextWindowError("too long")

    lm = Refusing(counts=True)
    result = dspex.evaluate(Asker().with_lm(lm), ROWS[:1])
    assert result.errors == 1
    assert result.scores[0].prompt_tokens == sum(count_prompt_tokens(one.messages) for one in lm.asked) > 0


def test_the_prompts_of_a_judge_are_none_of_the_programs() -> None:
    async def judged(example: Any, output: Any) -> float:
        await Asker().with_lm(Yes(counts=True)).acall({"question": "is it right?"})
        return 1.0

    program = Asker().with_lm(Yes(counts=True))
    assert lengths(program, metric=judged) == lengths(program)


class Terse(dspex.ChainOfThought):
    """Answer the question."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    instruction = dspex.Text("Answer.", pool=("Answer.", "Answer the question, and be careful: say yes or no."))
    demos = None


def test_each_trial_of_a_search_has_the_prompt_length_and_a_resumed_one_the_same(store: Store) -> None:
    program = Terse().with_lm(Yes(counts=True))
    options: dict[str, Any] = {"runtime": "in-process", "workers": 1, "optimizer": "grid", "store": store}
    found = dspex.optimize(program, ROWS, objectives=["score", "prompt_tokens"], trials=2, **options)
    short, long = (trial.measures["prompt_tokens"] for trial in found.history)
    assert short < long
    assert [trial.number for trial in found.pareto] == [0]
    rows = SweepStore(store.database).rows(found.run_id, 0)
    assert short == sum(row.result.prompt_tokens or 0 for row in rows) / len(rows)
    again = dspex.optimize(
        program, ROWS, objectives=["score", "prompt_tokens"], trials=2, resume=found.run_id, **options
    )
    assert [trial.measures for trial in again.history] == [trial.measures for trial in found.history]


def test_a_prompt_length_is_a_bound_and_a_limit_to_pick_by(store: Store) -> None:
    program = Terse().with_lm(Yes(counts=True))
    options: dict[str, Any] = {"runtime": "in-process", "workers": 1, "optimizer": "grid", "store": store, "trials": 2}
    length = dspex.optimize(program, ROWS, **options).history[0].measures["prompt_tokens"]
    bound = dspex.Bound("prompt_tokens", at_most=length)
    found = dspex.optimize(program, ROWS, bounds=[bound], objectives=["score", "prompt_tokens"], **options)
    assert found.program.values["instruction"] == "Answer."
    assert found.pick(prompt_tokens=length).values["instruction"] == "Answer."
    with pytest.raises(dspex.UsageError, match="No result keeps the limits"):
        found.pick(prompt_tokens=length - 1)
