"""SIMBA keeps the contract of every optimizer, whatever the model answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from optimizer_contract import SPACES, Course, OptimizerContract, chance, context_of

from dspex_coordination import OptimizerError, Space, Text
from dspex_coordination.objectives import COST
from dspex_coordination.optimizers import Optimizer, SearchContext, Told
from dspex_ray.example import Example
from dspex_ray.program_optimizers.simba import Simba
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

ROWS = tuple(Example(f"e{i}", {"question": f"what is {i}?"}, {"answer": "xyz"[i % 3]}) for i in range(9))
FIELDS = ((FieldSketch("question", "str", ""),), (FieldSketch("answer", "str", ""),))
SKETCH = ProgramSketch(
    "Toy", "Answer.", (Predictor("", "Answer.", "instruction", "demos", 4, FIELDS[0], FIELDS[1]),), ROWS
)


def told_space(space: Space) -> Space:
    return Space({**space.variables, "instruction": Text("Answer.")}, space.constraints)


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


class TestSimbaContract(OptimizerContract):
    name = "simba"
    looks_again = True
    written: ClassVar[dict[str, Space]] = {name: told_space(space) for name, space in SPACES.items()}

    @pytest.fixture
    def space(self, request: pytest.FixtureRequest) -> Space:
        return self.written[request.param]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "space" in metafunc.fixturenames:
            metafunc.parametrize("space", list(self.written), indirect=True)

    def make(self, context: SearchContext) -> Optimizer:
        return Answered(SKETCH, seed=context.seed, max_trials=context.max_trials, minibatch=3)

    def course(self, context: SearchContext, **more: Any) -> Course:
        if "instruction" not in context.space.names:
            context = replace(context, space=told_space(context.space))
        return super().course(context, **more)

    def any_space(self) -> Space:
        return self.written["mixed"]

    def check_asks(self, course: Course) -> None:
        """Errands are no candidates, and a look at train rows costs the rows it asks for."""
        context, spent, known = course.context, 0, dict[str, set[int]]()
        for ask in course.asks:
            assert spent < context.max_trials * context.validation_rows
            if ask.split == "errand":
                continue
            rows = set(range(context.rows_of(ask.split)) if ask.rows is None else ask.rows)
            before = known.setdefault(f"{ask.split} {ask.candidate.key}", set())
            assert rows - before, f"{ask} asks for nothing new"
            assert ask.split == "validation" or not rows & before, f"{ask} pays twice for a train row"
            assert ask.traced == (ask.split == "train")
            spent += len(rows - before)
            known[f"{ask.split} {ask.candidate.key}"] = before | rows
        super().check_asks(replace(course, asks=course.own))

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

    def test_no_train_rows_are_refused(self) -> None:
        context = SearchContext(self.any_space(), 3, 12, (), None, 0, 8)
        with pytest.raises(OptimizerError, match="train rows"):
            self.make(context).start(context)

    def test_fewer_trials_than_one_change_takes_are_refused_with_the_number_needed(self) -> None:
        context = context_of(self.any_space(), trials=2)
        with pytest.raises(OptimizerError, match="at least 3 are needed"):
            self.make(context).start(context)


def test_settings_that_cannot_be_are_refused_all_at_once() -> None:
    with pytest.raises(OptimizerError, match=r"pool must be at least 1, got 0; .*temperature must be above 0, got 0"):
        Simba(SKETCH, pool=0, temperature=0)
