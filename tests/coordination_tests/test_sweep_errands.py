"""Errands and traces: what an optimizer has done for it beside scoring, journalled and paid for like all else."""

from __future__ import annotations

from typing import Any

import pytest
from advised_search import Advised

from dspex_agents.roles.plan import Failure, Outcome, Work
from dspex_coordination import Float, RowResult, RowsEvaluated
from dspex_coordination.sweep.stop_rules import TrialsDone


@pytest.fixture
def advised(toy: Any) -> Any:
    toy.variables = {"heat": Float(0.0, 1.0, default=0.5)}
    toy.trials = 5
    toy.answered = []

    def evaluate(work: Work) -> Outcome:
        asked = work.payload
        toy.answered.append((asked.split, asked.traced, asked.rows))
        if asked.split == "errand":
            answer = {"heat": 0.8 if asked.candidate_values["ask"].endswith("1") else 0.3}
            rows: tuple[RowResult, ...] = (RowResult(0, None, answer, 0.01),)
        else:
            heat = asked.candidate_values["heat"]
            told = [("step", "in", "out")] if asked.traced else None
            rows = tuple(RowResult(row, heat, {"row": row}, 0.1, feedback="warmer", trace=told) for row in asked.rows)
        return Outcome(work.id, RowsEvaluated(rows, ({"unit": work.id},)), worker="w")

    toy.evaluate = evaluate
    return toy


def finished(toy: Any, **options: Any) -> tuple[Any, Advised]:
    optimizer = Advised()
    sweep = toy.sweep(optimizer=optimizer, **options)
    sweep.open()
    result = toy.drive(sweep)
    sweep.close()
    return result, optimizer


def test_an_errand_is_answered_with_json_and_counts_as_no_trial(advised: Any) -> None:
    result, optimizer = finished(advised)
    assert optimizer.heard == [0.3, 0.8]
    assert [split for split, _, _ in advised.answered].count("errand") == 2
    assert {trial.split for trial in result.trials} == {"train", "validation"}
    assert len(result.trials) == 5
    assert result.best is not None
    assert result.best.candidate.values["heat"] == 0.5


def test_an_errand_is_paid_for(advised: Any) -> None:
    result, _ = finished(advised)
    assert result.cost_usd == pytest.approx(0.02 + 0.1 * 2 + 4 * 10 * 0.1)


def test_a_traced_trial_is_told_how_each_row_went(advised: Any) -> None:
    _, optimizer = finished(advised)
    note = {"error": None, "feedback": "warmer", "trace": [["step", "in", "out"]]}
    assert [{**one, "trace": [list(step) for step in one["trace"]]} for one in optimizer.seen_notes[0]] == [note, note]


@pytest.mark.parametrize("pushes", range(1, 9))
def test_a_search_with_errands_resumes_to_the_same_result_wherever_it_is_killed(advised: Any, pushes: int) -> None:
    whole, first = finished(advised, run_id="whole")
    errands = [split for split, _, _ in advised.answered].count("errand")
    broken = advised.sweep(optimizer=Advised(), run_id="broken")
    broken.open()
    advised.drive(broken, pushes=pushes)
    again = Advised()
    resumed = advised.sweep(optimizer=again, run_id="broken")
    resumed.open()
    result = advised.drive(resumed)
    assert [(t.number, t.candidate, t.scores, t.cost_usd) for t in result.trials] == [
        (t.number, t.candidate, t.scores, t.cost_usd) for t in whole.trials
    ]
    assert (result.cost_usd, again.heard) == (whole.cost_usd, first.heard)
    # none that was recorded is done again; the one in flight at the kill may be
    assert [split for split, _, _ in advised.answered].count("errand") <= 2 * errands + 1


def test_an_errand_that_fails_is_told_as_failed(advised: Any) -> None:
    good = advised.evaluate
    failures: list[str] = []

    def evaluate(work: Work) -> Outcome:
        if work.payload.split == "errand" and not failures:
            failures.append(work.id)
            return Outcome(work.id, None, Failure("program", "ValueError", "no advice", retryable=False), worker="w")
        return good(work)

    advised.evaluate = evaluate
    result, optimizer = finished(advised)
    assert optimizer.heard == [0.3, 0.8]
    assert len(result.trials) == 5


def test_stop_rules_count_trials_without_errands(advised: Any) -> None:
    result, _ = finished(advised, stop=TrialsDone(3))
    assert len(result.trials) == 3


def test_the_state_of_an_optimizer_with_errands_goes_round(advised: Any) -> None:
    _, optimizer = finished(advised)
    again = Advised()
    again.start(advised.context())
    again.load_state_dict(optimizer.state_dict())
    assert again.book.trials == optimizer.book.trials == 5
    assert again.book.asked == optimizer.book.asked
