"""Reflective evolution keeps the contract of every optimizer, whatever the model answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optimizer_contract import SPACES, Course, chance, context_of
from written_contract import SKETCH, WrittenContract

from dspex_coordination import OptimizerError, Space, Text
from dspex_coordination.optimizers import Optimizer, SearchContext, Told
from dspex_ray.program_optimizers.reflective import Reflective


class Answered(Reflective):
    """Reflection whose errands are answered by a text that depends on the errand, one in four by something else."""

    def tell(self, told: Told) -> None:
        if told.split == "errand" and told.failed is None and chance("usable", told.candidate.key) < 0.75:
            text = f"Answer with care {told.candidate.key[:8]}."
            told = replace(told, outputs=({"diagnosis": "careless", "instruction": text},))
        super().tell(told)


class TestReflectiveContract(WrittenContract):
    name = "reflective"
    several = False

    def make(self, context: SearchContext) -> Optimizer:
        return Answered(SKETCH, seed=context.seed, max_trials=context.max_trials, minibatch=2)

    @pytest.mark.parametrize("workers", [1, 5])
    def test_a_finite_space_is_exhausted_exactly(self, workers: int) -> None:
        """No space with a free text is finite: here that a search without any usable text ends all the same."""
        context = context_of(self.written["one"], trials=60)
        optimizer = Reflective(SKETCH, minibatch=2, patience=5)
        optimizer.start(context)
        course = Course(optimizer, context, workers=workers).run()
        assert course.optimizer.done
        assert optimizer.tally["no answer"] >= 5
        assert {ask.candidate.key for ask in course.own} == {context.space.default().key}

    def test_one_made_for_a_space_without_a_free_text_is_refused(self) -> None:
        pooled = Space({"instruction": Text("Answer.", pool=["Answer well."])})
        for space in (SPACES["mixed"], pooled):
            with pytest.raises(OptimizerError, match="has an instruction that may be any text"):
                self.make(context_of(space)).start(context_of(space))


def test_settings_that_cannot_be_are_refused_all_at_once() -> None:
    with pytest.raises(OptimizerError, match=r"minibatch must be at least 1, got 0; .*vary must be from 0 to 1, got 2"):
        Reflective(SKETCH, minibatch=0, vary=2)
    with pytest.raises(OptimizerError, match=r"has no settings \['batch'\]"):
        Reflective(SKETCH, batch=3)
