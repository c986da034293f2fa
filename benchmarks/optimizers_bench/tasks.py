"""The tasks by name, and their cases in splits."""

from __future__ import annotations

from dataclasses import dataclass

from optimizers_bench.rules import Case, Task, cases_of
from optimizers_bench.task_arithmetic import ARITHMETIC
from optimizers_bench.task_extraction import EXTRACTION
from optimizers_bench.task_routing import ROUTING
from optimizers_bench.task_two_hop import TWO_HOP

TASKS = {task.name: task for task in (ROUTING, EXTRACTION, ARITHMETIC, TWO_HOP)}


@dataclass(frozen=True)
class Splits:
    """The cases of a task and a seed: 60 to learn from, 60 to choose by, 200 to judge by."""

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]


def splits_of(task: Task, seed: int) -> Splits:
    """Return the splits; no case is in two of them."""
    cases = cases_of(task, seed, 320)
    return Splits(tuple(cases[:60]), tuple(cases[60:120]), tuple(cases[120:]))
