"""The contract of optimizers that write instructions: the common one, on spaces with a text and a sketched program."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from optimizer_contract import SPACES, Course, OptimizerContract

from dspex_coordination import OptimizerError, Space, Text
from dspex_coordination.optimizers import SearchContext
from dspex_ray.example import Example
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

ROWS = tuple(Example(f"e{i}", {"question": f"what is {i}?"}, {"answer": "xyz"[i % 3]}) for i in range(9))
FIELDS = ((FieldSketch("question", "str", ""),), (FieldSketch("answer", "str", ""),))
SKETCH = ProgramSketch(
    "Toy", "Answer.", (Predictor("", "Answer.", "instruction", "demos", 4, FIELDS[0], FIELDS[1]),), ROWS
)


def told_space(space: Space) -> Space:
    return Space({**space.variables, "instruction": Text("Answer.")}, space.constraints)


class WrittenContract(OptimizerContract):
    """A subclass makes the optimizer around `SKETCH`, and answers its errands."""

    looks_again = True
    written: ClassVar[dict[str, Space]] = {name: told_space(space) for name, space in SPACES.items()}

    @pytest.fixture
    def space(self, request: pytest.FixtureRequest) -> Space:
        return self.written[request.param]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "space" in metafunc.fixturenames:
            metafunc.parametrize("space", list(self.written), indirect=True)

    def course(self, context: SearchContext, **more: Any) -> Course:
        if "instruction" not in context.space.names:
            context = replace(context, space=told_space(context.space))
        return super().course(context, **more)

    def any_space(self) -> Space:
        return self.written["mixed"]

    def check_asks(self, course: Course) -> None:
        """A look at train rows costs the rows it asks for, and none is paid for twice."""
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

    def test_no_train_rows_are_refused(self) -> None:
        context = SearchContext(self.any_space(), 3, 12, (), None, 0, 8)
        with pytest.raises(OptimizerError, match="train rows"):
            self.make(context).start(context)
