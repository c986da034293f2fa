"""The contract of optimizers, kept by BootstrapFewShot with and without demonstrations that come of its looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from optimizer_contract import SPACES, OptimizerContract, context_of

from dspex_coordination import Demos, Optimizer, SearchContext, Space, Told
from dspex_ray.example import Example
from dspex_ray.program_optimizers.bootstrap_few_shot import BootstrapFewShot
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch


def sketch_of(context: SearchContext) -> ProgramSketch:
    """A program with one predictor for each `Demos` variable of the space."""
    fields = (FieldSketch("question", "str", ""),)
    predictors = tuple(
        Predictor(name, "Answer.", f"{name}.instruction", name, one.max, fields, fields)
        for name, one in context.space.demos.items()
    )
    rows = tuple(Example(one, {"question": one}, {"question": one}) for one in context.train_ids)
    return ProgramSketch("Made", "Answer.", predictors, rows)


class Seeing(BootstrapFewShot):
    """Is told with each look one step for each predictor and row."""

    def tell(self, told: Told) -> None:
        if told.split == "train" and told.failed is None:
            notes = tuple(self.note(row) for row in told.rows)
            told = replace(told, notes=notes)
        super().tell(told)

    def note(self, row: int) -> Mapping[str, Any]:
        answered = {"input": {"question": f"{row}?"}, "output": {"question": f"{row}!"}}
        places = [one.place for one in self._sketch.predictors]
        return {"error": None, "feedback": None, "trace": [{"place": place, **answered} for place in places]}


class TestBootstrapFewShot(OptimizerContract):
    name = "bootstrap_few_shot"
    spaces = ("demos",)

    def make(self, context: SearchContext) -> Optimizer:
        return BootstrapFewShot(sketch_of(context), seed=context.seed, max_trials=context.max_trials)

    def context_for(self, space: Space, seed: int) -> SearchContext:
        shown = Space({**space.variables, "shown": Demos(max=2)}, space.constraints)
        return context_of(shown, trials=self.trials, seed=seed)


class TestBootstrapFewShotThatSees(TestBootstrapFewShot):
    def make(self, context: SearchContext) -> Optimizer:
        return Seeing(sketch_of(context), seed=context.seed, max_trials=context.max_trials)

    @pytest.mark.parametrize("workers", [1, 5])
    def test_a_finite_space_is_exhausted_exactly(self, workers: int) -> None:
        """Demonstrations that the program makes come on top of those that a space can list."""
        context = context_of(Space({"demos": Demos(max=1)}), trials=60)
        course = self.course(context, workers=workers).run()
        asked = {ask.candidate.key: ask.candidate.values["demos"] for ask in course.own}
        listed = [one for one in asked.values() if one["select"] != "given"]
        assert len(listed) == context.space.bind(context.train_ids).cardinality
        assert len(asked) == len(listed) + 3
        assert course.optimizer.done

    def test_the_sets_that_follow_a_look_are_made_of_it(self) -> None:
        course = self.course(context_of(SPACES["demos"], trials=self.trials)).run()
        assert [ask.split for ask in course.asks[:4]] == ["validation", "validation", "validation", "train"]
        assert course.asks[3].traced
        first = course.asks[4].candidate.values["demos"]
        assert [demo["of"] for demo in first["demos"]] == ["e0", "e3", "e6"]
