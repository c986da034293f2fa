"""A trial that a teacher evaluates: its rows are the teacher's alone, and a resumed run asks for it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dspex_agents.roles.plan import Outcome, Work
from dspex_coordination import Ask, ResumeError, SearchContext, Told
from dspex_coordination.optimizers.search_optimizer import SearchOptimizer
from dspex_coordination.sweep import RowResult, RowsEvaluated, SweepStore, forked

Toy = Any  # the class of the `toy` fixture in conftest.py


class Pupil(SearchOptimizer):
    """Looks at the default's train rows with its teacher, without, and with it again."""

    name = "pupil"

    def __init__(self, asks: list[Mapping[str, Any]]) -> None:
        super().__init__()
        self.asks, self.heard = asks, list[Told]()

    def propose(self, number: int) -> Ask | None:
        at = number - len(self.opening)
        return None if at >= len(self.asks) else Ask(self.space.default(), "train", **self.asks[at])

    def learn(self, told: Told) -> None:
        self.heard.append(told)


ASKS: list[Mapping[str, Any]] = [
    {"rows": (0, 1), "teacher": True},
    {"rows": (0, 1)},
    {"rows": (0, 1, 2), "teacher": True},
]


@pytest.fixture
def taught(toy: Toy) -> Toy:
    toy.trials, toy.worked = 9, []

    def evaluate(work: Work) -> Outcome:
        asked = work.payload
        toy.worked.append((asked.split, asked.rows, asked.teacher))
        rows = tuple(RowResult(row, float(asked.teacher), {"row": row}, 0.1) for row in asked.rows)
        return Outcome(work.id, RowsEvaluated(rows, ()), worker="w")

    toy.evaluate = evaluate
    return toy


def test_rows_of_a_teacher_are_taken_over_by_its_own_trials_alone(taught: Toy) -> None:
    pupil = Pupil(ASKS)
    result = taught.run(optimizer=pupil, max_pending_trials=1)
    assert [told.scores for told in pupil.heard[1:]] == [(1.0, 1.0), (0.0, 0.0), (1.0, 1.0, 1.0)]
    asked = [(row, teacher) for split, rows, teacher in taught.worked if split == "train" for row in rows]
    assert asked == [(0, True), (1, True), (0, False), (1, False), (2, True)]
    assert [trial.teacher for trial in result.trials] == [False, True, False, True]


def test_a_run_is_not_resumed_with_the_teachers_trials_as_others(taught: Toy) -> None:
    taught.run(optimizer=Pupil(ASKS), max_pending_trials=1)
    again = Pupil(ASKS)
    taught.run(optimizer=again, max_pending_trials=1)
    assert [told.scores for told in again.heard[1:]] == [(1.0, 1.0), (0.0, 0.0), (1.0, 1.0, 1.0)]
    with pytest.raises(ResumeError, match="'teacher': True"):
        taught.run(optimizer=Pupil([{"rows": (0, 1)}, *ASKS[1:]]), max_pending_trials=1)


def test_a_fork_takes_over_what_candidates_scored_by_themselves(taught: Toy) -> None:
    result = taught.run(optimizer=Pupil(ASKS), max_pending_trials=1)
    store: SweepStore = taught.store
    context: SearchContext = forked(taught.context(), store, result.run_id)
    assert [told.scores for told in context.earlier if told.split == "train"] == [(0.0, 0.0)]
    assert [trial.teacher for trial in store.trials(result.run_id)] == [False, True, False, True]


def test_a_saved_optimizer_knows_what_it_asked_of_its_teacher(taught: Toy) -> None:
    def started() -> Pupil:
        pupil = Pupil(ASKS)
        pupil.start(taught.context())
        return pupil

    pupil = started()
    asks = [ask for ask in (pupil.ask(0) for _ in range(3)) if ask is not None]
    loaded = started()
    loaded.load_state_dict(pupil.state_dict())
    assert list(loaded.book.asks) == asks
    assert [ask.teacher for ask in loaded.book.asks] == [False, True, False]
