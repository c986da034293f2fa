"""Optimising a program made of programs: the variables of its parts, and their demonstrations."""

from __future__ import annotations

from typing import Any

import pytest

import dspex_ray as dspex
from dspex_ray.demos import DemoPool
from dspex_ray.example import make_example
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.store import Store

ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(20)]


class WarmLM:
    """Knows the answer at a temperature near 0.8 alone."""

    model = "simulated/warm"

    async def complete(self, request: LMRequest) -> LMReply:
        asked = request.messages[-1].content
        number = int(next(word for word in asked.split() if word.isdigit()))
        right = abs((request.temperature or 0.0) - 0.8) < 0.2
        answer = "yes" if (number % 2 == 0) == right else "no"
        text = f'{{"reasoning": "it is {number}", "answer": "{answer}"}}'
        return LMReply(text=text, model=self.model, usage=Usage(prompt_tokens=5, completion_tokens=5), cost_usd=0.001)

    async def stream(self, request: LMRequest) -> Any:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class Answered(dspex.Program):
    """Answer by thinking first."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    think = dspex.ChainOfThought("question -> answer", temperature=dspex.Float(0.0, 1.0, default=0.1), demos=None)

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        return self.Output(answer=(await self.think(question=input.question)).answer)


def search(program: dspex.Program, store: Store, **options: Any) -> dspex.Optimized:
    return dspex.optimize(program, ROWS, runtime="in-process", workers=1, store=store, **options)


def test_the_variable_of_a_part_is_searched_and_kept_in_the_version(store: Store) -> None:
    found = search(Answered().with_lm(WarmLM()), store, optimizer="grid", trials=12)
    assert found.baseline == 0.0
    assert found.score == 1.0
    assert abs(found.program.values["think.temperature"] - 0.8) < 0.2
    assert found.version.state is not None
    again = dspex.program_from_state({**found.version.state, "program": f"{__name__}:Answered"})
    assert again.values == found.program.values


def test_a_search_begins_with_the_values_that_the_program_has(store: Store) -> None:
    tuned = Answered().with_lm(WarmLM()).with_values({"think.temperature": 0.75})
    found = search(tuned, store, optimizer="random", trials=2)
    assert found.history[1].candidate.values["think.temperature"] == 0.75
    assert found.score == 1.0


def test_the_demonstrations_of_a_part_come_from_its_own_pool(store: Store) -> None:
    class Shown(Answered):
        """Answer with demonstrations."""

        think = dspex.Predict("question -> answer, reasoning", temperature=0.8, demos=dspex.Demos(max=2))

    rows = [({"question": f"{n}?"}, {"answer": "yes", "reasoning": "even"}) for n in (2, 4)]
    pool = DemoPool([make_example(asked, answered, None) for asked, answered in rows])
    program = Shown().with_lm(WarmLM()).with_demo_pool(pool, "think")
    found = search(program, store, optimizer="random", trials=6)
    tried = {one for trial in found.history for one in trial.candidate.values["think.demos"].get("ids", ())}
    assert tried
    assert tried <= set(pool.ids)
    assert found.program.parts["think"].demo_pool.ids == pool.ids


def test_nothing_tunable_in_any_part_is_an_error(store: Store) -> None:
    class Fixed(Answered):
        """Nothing to tune."""

        think = dspex.ChainOfThought("question -> answer", demos=None)

    # with more trials `auto` writes the instructions
    for chosen in ({"optimizer": "random"}, {"optimizer": "auto", "trials": 2}):
        with pytest.raises(dspex.NothingToTuneError, match="declares no variable"):
            search(Fixed().with_lm(WarmLM()), store, **chosen)
    assert search(Fixed().with_lm(WarmLM()), store, trials=20).score is not None


def test_an_optimizer_that_cannot_tune_the_program_is_refused_before_the_model_is_asked(store: Store) -> None:
    class Unasked(WarmLM):
        async def complete(self, request: LMRequest) -> LMReply:
            raise AssertionError(f"asked: {request}")

    with pytest.raises(dspex.UsageError, match="needs a predictor with a Demos variable"):
        search(Answered().with_lm(Unasked()), store, optimizer="bootstrap_few_shot")
