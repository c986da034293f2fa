"""Genetic search over programs keeps the contract of every optimizer, whatever the model answers."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
from optimizer_contract import Course, chance, context_of
from written_contract import SKETCH, WrittenContract

from dspex_coordination import OptimizerError
from dspex_coordination.optimizers import Optimizer, SearchContext, Told
from dspex_ray.program_optimizers.genetic_programs import GeneticPrograms


class Answered(GeneticPrograms):
    """Is told of a step for each train row, and of a text that depends on the errand, one in four times of none."""

    def tell(self, told: Told) -> None:
        if told.split == "train" and told.failed is None:
            steps = [{"place": "", "input": {"question": f"{row}?"}, "output": {"answer": "!"}} for row in told.rows]
            told = replace(told, notes=tuple({"error": None, "feedback": None, "trace": [step]} for step in steps))
        if told.split == "errand" and told.failed is None and chance("usable", told.candidate.key) < 0.75:
            told = replace(told, outputs=({"instruction": f"Answer with care {told.candidate.key[:8]}."},))
        super().tell(told)


class TestGeneticProgramsContract(WrittenContract):
    name = "genetic_programs"
    block: ClassVar[int | None] = None

    def make(self, context: SearchContext) -> Optimizer:
        end = context.max_trials
        return Answered(SKETCH, seed=context.seed, max_trials=end, population=4, block=self.block)

    @pytest.mark.parametrize("workers", [1, 5])
    def test_a_finite_space_is_exhausted_exactly(self, workers: int) -> None:
        """No space with a free text is finite: here that a search without any usable text ends all the same."""
        context = context_of(self.written["few"], trials=60)
        optimizer = GeneticPrograms(SKETCH, population=4)
        optimizer.start(context)
        course = Course(optimizer, context, workers=workers).run()
        assert course.optimizer.done
        assert len({ask.candidate.key for ask in course.own}) == 12
        assert any(ask.split == "errand" for ask in course.asks)
        self.check_asks(course)

    def test_all_trials_are_used_unless_the_space_is_exhausted(self) -> None:
        context = context_of(self.any_space(), trials=self.trials)
        course = self.course(context, workers=3).run()
        spent = sum(context.rows_of(ask.split) if ask.rows is None else len(ask.rows) for ask in course.asks)
        assert spent >= self.trials * context.validation_rows

    @pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 8, 11])
    def test_a_fresh_optimizer_that_is_told_the_same_asks_the_same(self, stop: int) -> None:
        context = context_of(self.written["demos"], trials=self.trials)
        first, again = (self.course(context, workers=3, order=stop).run(stop) for _ in range(2))
        assert first.asks == again.asks
        assert first.run().asks == again.run().asks
        assert first.optimizer.state_dict() == again.optimizer.state_dict()


class TestGeneticProgramsThatLookAtSomeRowsFirst(TestGeneticProgramsContract):
    block = 3


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(OptimizerError, match=r"written must be from 0 to 1 and block at least 1, got 1\.5 and 0"):
        GeneticPrograms(SKETCH, written=1.5, block=0)
