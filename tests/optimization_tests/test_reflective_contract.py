"""Reflective evolution keeps the contract of every optimizer, whatever the model answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from optimizer_contract import SPACES, Course, OptimizerContract, chance, context_of

from dspex_coordination import OptimizerError, Space, Text
from dspex_coordination.optimizers import Optimizer, SearchContext, Told
from dspex_ray.example import Example
from dspex_ray.program_optimizers.reflective import Reflective
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

ROWS = tuple(Example(f"e{i}", {"question": f"what is {i}?"}, {"answer": "xyz"[i % 3]}) for i in range(9))
FIELDS = ((FieldSketch("question", "str", ""),), (FieldSketch("answer", "str", ""),))
SKETCH = ProgramSketch(
    "Toy", "Answer.", (Predictor("", "Answer.", "instruction", "demos", 4, FIELDS[0], FIELDS[1]),), ROWS
)


def told_space(space: Space) -> Space:
    return Space({**space.variables, "instruction": Text("Answer.")}, space.constraints)


class Answered(Reflective):
    """Reflection whose errands are answered by a text that depends on the errand, one in four by something else."""

    def tell(self, told: Told) -> None:
        if told.split == "errand" and told.failed is None and chance("usable", told.candidate.key) < 0.75:
            text = f"Answer with care {told.candidate.key[:8]}."
            told = replace(told, outputs=({"diagnosis": "careless", "instruction": text},))
        super().tell(told)


class TestReflectiveContract(OptimizerContract):
    name = "reflective"
    several = False
    looks_again = True
    written: ClassVar[dict[str, Space]] = {name: told_space(space) for name, space in SPACES.items()}

    @pytest.fixture
    def space(self, request: pytest.FixtureRequest) -> Space:
        return self.written[request.param]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "space" in metafunc.fixturenames:
            metafunc.parametrize("space", list(self.written), indirect=True)

    def make(self, context: SearchContext) -> Optimizer:
        return Answered(SKETCH, seed=context.seed, max_trials=context.max_trials, minibatch=2)

    def course(self, context: SearchContext, **more: Any) -> Course:
        if "instruction" not in context.space.names:
            context = replace(context, space=told_space(context.space))
        return super().course(context, **more)

    def any_space(self) -> Space:
        return self.written["mixed"]

    def check_asks(self, course: Course) -> None:
        """Errands are no candidates, and a look at train rows costs the rows it asks for."""
        context, spent, known = course.context, 0, dict[str, set[int]]()
        failed = {told.number for told in course.told if told.failed is not None}
        for number, ask in enumerate(course.asks):
            assert spent < context.max_trials * context.validation_rows
            if ask.split == "errand":
                continue
            rows = set(range(context.rows_of(ask.split)) if ask.rows is None else ask.rows)
            before = known.setdefault(f"{ask.split} {ask.candidate.key}", set())
            assert rows - before, f"{ask} asks for nothing new"
            assert ask.split == "validation" or not rows & before, f"{ask} pays twice for a train row"
            spent += len(rows - before)
            if number not in failed:
                known[f"{ask.split} {ask.candidate.key}"] = before | rows
        super().check_asks(replace(course, asks=course.own))

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

    def test_no_train_rows_are_refused(self) -> None:
        context = SearchContext(self.any_space(), 3, 12, (), None, 0, 8)
        with pytest.raises(OptimizerError, match="train rows"):
            self.make(context).start(context)


def test_settings_that_cannot_be_are_refused_all_at_once() -> None:
    with pytest.raises(OptimizerError, match=r"minibatch must be at least 1, got 0; .*vary must be from 0 to 1, got 2"):
        Reflective(SKETCH, minibatch=0, vary=2)
    with pytest.raises(OptimizerError, match=r"has no settings \['batch'\]"):
        Reflective(SKETCH, batch=3)
