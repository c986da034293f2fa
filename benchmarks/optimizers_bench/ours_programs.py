"""The tasks as programs of ours, with their rows and metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspex_ray as dspex
from dspex_ray.metrics import Scored
from optimizers_bench.rules import Answer, Case, Task, marked
from optimizers_bench.settings import TEMPERATURE
from optimizers_bench.tasks import TASKS


class Routing(dspex.Program):
    """Choose the desk that handles the ticket."""

    class Input(dspex.Schema):
        ticket: str

    class Output(dspex.Schema):
        desk: str

    demos = dspex.Demos(max=4)
    temperature = TEMPERATURE


class Extraction(dspex.Program):
    """Extract the fields of the delivery note."""

    class Input(dspex.Schema):
        note: str

    class Output(dspex.Schema):
        date: str
        customer: str
        item: str
        weight: str
        units: str
        amount: str

    demos = dspex.Demos(max=4)
    temperature = TEMPERATURE


class Arithmetic(dspex.Program):
    """Work out the total of the order."""

    class Input(dspex.Schema):
        order: str

    class Output(dspex.Schema):
        total: float

    demos = dspex.Demos(max=4)
    temperature = TEMPERATURE


class Diagnose(dspex.Program):
    """Name the part that the report points to."""

    class Input(dspex.Schema):
        report: str

    class Output(dspex.Schema):
        finding: str

    demos = dspex.Demos(max=4)
    temperature = TEMPERATURE


class Decide(dspex.Program):
    """Choose what to do about the finding."""

    class Input(dspex.Schema):
        report: str
        finding: str

    class Output(dspex.Schema):
        action: str

    demos = dspex.Demos(max=4)
    temperature = TEMPERATURE


class TwoHop(dspex.Program):
    """Say what to do about the pump."""

    class Input(dspex.Schema):
        report: str

    class Output(dspex.Schema):
        action: str

    diagnose = Diagnose()
    decide = Decide()

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the public name
        found = await self.diagnose(report=input.report)
        decided = await self.decide(report=input.report, finding=found.finding)
        return self.Output(action=decided.action)


PROGRAMS: dict[str, type[dspex.Program]] = {
    "routing": Routing,
    "extraction": Extraction,
    "arithmetic": Arithmetic,
    "two_hop": TwoHop,
}


def rows_of(task: Task, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return the rows: the question and the right answer."""
    return [{task.question: case.text, **task.gold(case.facts)} for case in cases]


class Marks:
    """The metric: the share of the right fields, with the feedback that DSPy's side gets too."""

    def __init__(self, task: str, cases: Sequence[Case]) -> None:
        self._task = task
        self._cases = {case.text: case for case in cases}

    def __repr__(self) -> str:
        return f"Marks({self._task!r})"  # a run is resumed with the metric of the same name

    def __call__(self, example: Any, output: Any) -> Scored:
        task = TASKS[self._task]
        given: Answer = output.model_dump(mode="json")
        score, feedback = marked(task, self._cases[example.input[task.question]], given)
        return Scored(score, feedback)
