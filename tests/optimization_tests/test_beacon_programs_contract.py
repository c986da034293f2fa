"""The contract of optimizers, kept by BEACON for programs with and without looks and proposals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from optimizer_contract import Course, OptimizerContract, context_of

from dspex_coordination import Demos, Float, Optimizer, SearchContext, Space, Told
from dspex_coordination.variables import Text
from dspex_ray.example import Example
from dspex_ray.program_optimizers.beacon_programs import BeaconPrograms
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

NOTHING = ProgramSketch("Nothing", "A program without model calls.", (), ())
TOLD = Space({"instruction": Text("Answer."), "demos": Demos(max=4), "temperature": Float(0, 1)})
FIELDS = (FieldSketch("question", "str", ""),)
CALL = Predictor("", "Answer.", "instruction", "demos", 4, FIELDS, FIELDS)


def sketch_of(context: SearchContext) -> ProgramSketch:
    rows = tuple(Example(one, {"question": one}, {"question": one}) for one in context.train_ids)
    return ProgramSketch("Made", "Answer.", (CALL,), rows)


class Seeing(BeaconPrograms):
    """Is told of a step for each row it looks at, and of an instruction for each errand."""

    def tell(self, told: Told) -> None:
        if told.failed is None and told.split == "train":
            step = {"place": "", "input": {"question": "?"}, "output": {"question": "!"}}
            note = {"error": None, "feedback": None, "trace": [step]}
            told = replace(told, notes=(note,) * len(told.rows))
        if told.failed is None and told.split == "errand":
            told = replace(told, outputs=({"instruction": self.instruction_of(told.number)},))
        super().tell(told)

    def instruction_of(self, number: int) -> str:
        return f"Answer as of trial {number}."


class TestBeaconProgramsWithoutModelCalls(OptimizerContract):
    name = "beacon_programs"
    trials: ClassVar[int] = 9
    spaces = ("tied", "demos")

    def make(self, context: SearchContext) -> Optimizer:
        return BeaconPrograms(NOTHING, seed=context.seed, max_trials=context.max_trials, initial=4)


class TestBeaconPrograms(OptimizerContract):
    name = "beacon_programs"
    trials: ClassVar[int] = 9
    spaces = ("demos",)

    def make(self, context: SearchContext) -> Optimizer:
        sketch, end = sketch_of(context), context.max_trials
        return Seeing(sketch, seed=context.seed, max_trials=end, proposals=2, rounds=2, every=3, initial=4)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "space" in metafunc.fixturenames:
            metafunc.parametrize("space", [pytest.param(TOLD, id="told")])

    def any_space(self) -> Space:
        return TOLD

    @pytest.mark.parametrize("workers", [1, 5])
    def test_a_finite_space_is_exhausted_exactly(self, workers: int) -> None:
        """What a model writes comes on top of the 19 candidates that the space lists, until it brings nothing new."""

        class Dull(Seeing):
            def instruction_of(self, number: int) -> str:
                return "Say it twice."

        context = context_of(Space({"instruction": Text("Answer."), "demos": Demos(max=1)}), trials=90)
        optimizer = Dull(sketch_of(context), seed=3, max_trials=90, proposals=1, rounds=1, initial=4)
        optimizer.start(context)
        course = Course(optimizer, context, workers=workers).run()
        texts = {ask.candidate.values["instruction"] for ask in course.own}
        assert texts == {"Answer.", "Say it twice."}
        assert course.optimizer.done
        assert any(ask.split == "errand" for ask in course.asks)
        self.check_asks(course)

    def test_all_trials_are_used_unless_the_space_is_exhausted(self, space: Space) -> None:
        course = self.course(context_of(space, trials=self.trials), workers=3).run()
        assert sum(ask.split != "errand" for ask in course.asks) == self.trials

    @pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 8, 11])
    def test_a_fresh_optimizer_that_is_told_the_same_asks_the_same(self, stop: int) -> None:
        context: Any = context_of(TOLD, trials=self.trials)
        first = self.course(context, workers=3, order=stop).run(stop)
        again = self.course(context, workers=3, order=stop).run(stop)
        assert first.asks == again.asks
        assert first.run().asks == again.run().asks
        assert first.optimizer.state_dict() == again.optimizer.state_dict()


class TestBeaconProgramsThatLookAtSomeRowsFirst(OptimizerContract):
    name = "beacon_programs"
    trials: ClassVar[int] = 9
    spaces = ("demos",)
    looks_again: ClassVar[bool] = True

    def make(self, context: SearchContext) -> Optimizer:
        return BeaconPrograms(NOTHING, seed=context.seed, max_trials=context.max_trials, initial=4, block=3)
