"""Labelled few-shot: the contract of optimizers, and train rows that are shown as they are."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from optimizer_contract import OptimizerContract, context_of

import dspex_ray as dspex
from dspex_coordination import Demos, Optimizer, OptimizerError, SearchContext, Space
from dspex_ray.example import Example
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.program_optimizers.labelled_few_shot import LabelledFewShot
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch
from dspex_ray.store import Store

ROWS = [{"word": f"word {n}", "kind": "abc"[n % 3]} for n in range(30)]


def made(context: SearchContext, **settings: Any) -> LabelledFewShot:
    fields = (FieldSketch("question", "str", ""),)
    predictors = tuple(
        Predictor(name, "Answer.", f"{name}.instruction", name, one.max, fields, fields)
        for name, one in context.space.demos.items()
    )
    rows = tuple(Example(one, {"question": one}, {"question": one}) for one in context.train_ids)
    sketch = ProgramSketch("Made", "Answer.", predictors, rows)
    return LabelledFewShot(sketch, seed=context.seed, max_trials=context.max_trials, **settings)


class TestLabelledFewShot(OptimizerContract):
    name = "labelled_few_shot"
    spaces = ("demos",)

    def make(self, context: SearchContext) -> Optimizer:
        return made(context)

    def context_for(self, space: Space, seed: int) -> SearchContext:
        shown = Space({**space.variables, "shown": Demos(max=2)}, space.constraints)
        return context_of(shown, trials=self.trials, seed=seed)

    def test_it_runs_nothing_but_validation_rows(self) -> None:
        course = self.course(context_of(self.any_space(), trials=40)).run()
        assert {ask.split for ask in course.asks} == {"validation"}
        assert not any("given" in str(ask.candidate.values["demos"]) for ask in course.asks)

    def test_no_more_rows_are_shown_at_once_than_was_set(self) -> None:
        context = context_of(self.any_space(), trials=30)
        optimizer = made(context, labelled=2)
        optimizer.start(context)
        shown = [ask.candidate.values["demos"] for ask in map(optimizer.ask, range(30)) if ask is not None]
        assert {len(one.get("ids", ())) for one in shown if one["select"] == "fixed"} == {0, 1, 2}

    def test_no_train_rows_are_refused_with_what_to_use(self) -> None:
        context = SearchContext(self.any_space(), 3, 12, (), None, 0, 8)
        with pytest.raises(OptimizerError, match="shows train rows as they are, and none"):
            made(context).start(context)

    def test_a_number_that_cannot_be_is_refused(self) -> None:
        with pytest.raises(OptimizerError, match="labelled_few_shot: labelled must be at least 1, got 0"):
            made(context_of(self.any_space()), labelled=0)


class Copycat:
    """Knows the kind of a word if it is shown another word of that kind."""

    model = "simulated/copycat"

    async def complete(self, request: LMRequest) -> LMReply:
        *before, asked = [one.content for one in request.messages]
        number = int(re.findall(r"\d+", asked)[-1])
        kind = "abc"[number % 3]
        answer = kind if any(f'"{kind}"' in one for one in before) else "unknown"
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=json.dumps({"kind": answer}), model=self.model, usage=usage, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class Kind(dspex.Predict):
    """Say the kind."""

    class Input(dspex.Schema):
        word: str

    class Output(dspex.Schema):
        kind: str

    demos = dspex.Demos(max=6)


def search(store: Store, program: dspex.Program, **options: Any) -> dspex.Optimized:
    asked = {"runtime": "in-process", "workers": 1, "store": store, "trials": 10, "optimizer": "labelled_few_shot"}
    return dspex.optimize(program.with_lm(Copycat()), ROWS, **{**asked, **options})


def test_rows_of_all_kinds_are_found_and_shown(store: Store) -> None:
    found = search(store, Kind())
    assert found.baseline == 0.0
    assert found.score == 1.0
    assert {trial.split for trial in found.history} == {"validation"}


def test_a_program_none_of_whose_parts_takes_rows_as_they_are_is_refused(store: Store) -> None:
    class Two(dspex.Program):
        """Say the kind."""

        class Input(dspex.Schema):
            word: str

        class Output(dspex.Schema):
            kind: str

        look = dspex.Predict("word -> sound", demos=dspex.Demos(max=3))

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
            return self.Output(kind=(await self.look(word=input.word)).sound)

    with pytest.raises(dspex.UsageError, match=r"Use 'bootstrap_few_shot'"):
        search(store, Two())
