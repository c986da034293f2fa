"""SIMBA keeps the contract of every optimizer, whatever the model answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from optimizer_contract import SPACES, Course, chance, context_of
from written_contract import SKETCH, WrittenContract

from dspex_coordination import OptimizerError
from dspex_coordination.objectives import COST
from dspex_coordination.optimizers import Optimizer, SearchContext, Told
from dspex_ray.program_optimizers.simba import Simba


class Answered(Simba):
    """Is told of a step for each train row, and of advice that depends on the errand, one in four times of none."""

    def tell(self, told: Told) -> None:
        if told.split == "train" and told.failed is None:
            steps = [{"place": "", "input": {"question": f"{row}?"}, "output": {"answer": "!"}} for row in told.rows]
            told = replace(told, notes=tuple({"error": None, "feedback": None, "trace": [step]} for step in steps))
        if told.split == "errand" and told.failed is None and chance("usable", told.candidate.key) < 0.75:
            advice = f"Answer with care {told.candidate.key[:8]}."
            told = replace(told, outputs=({"discussion": "careless", "advice": advice},))
        super().tell(told)


class TestSimbaContract(WrittenContract):
    name = "simba"

    def make(self, context: SearchContext) -> Optimizer:
        return Answered(SKETCH, seed=context.seed, max_trials=context.max_trials, minibatch=3)

    def check_asks(self, course: Course) -> None:
        super().check_asks(course)
        assert all(ask.traced == (ask.split == "train") for ask in course.asks)

    @pytest.mark.parametrize("workers", [1, 5])
    def test_a_finite_space_is_exhausted_exactly(self, workers: int) -> None:
        """No space with a free text is finite: here that a search which can change nothing ends all the same."""
        context = context_of(SPACES["one"], trials=60)
        optimizer = Simba(SKETCH, minibatch=3)
        optimizer.start(context)
        course = Course(optimizer, context, workers=workers).run()
        assert course.optimizer.done
        assert {ask.candidate.key for ask in course.asks} == {context.space.default().key}
        assert sum(8 if ask.rows is None else len(ask.rows) for ask in course.asks) <= 8 + 9

    def test_a_measure_other_than_the_score_alone_is_refused(self) -> None:
        context = context_of(self.any_space(), objectives=(COST,))
        with pytest.raises(OptimizerError, match="climbs by 'score'"):
            self.make(context).start(context)

    def test_fewer_trials_than_one_change_takes_are_refused_with_the_number_needed(self) -> None:
        context = context_of(self.any_space(), trials=2)
        with pytest.raises(OptimizerError, match="at least 3 are needed"):
            self.make(context).start(context)


def test_settings_that_cannot_be_are_refused_all_at_once() -> None:
    with pytest.raises(OptimizerError, match=r"pool must be at least 1, got 0; .*temperature must be above 0, got 0"):
        Simba(SKETCH, pool=0, temperature=0)
