"""Demonstrations that a program made itself, from traced rows that its metric found right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dspex_coordination import Candidate, Demos, Told
from dspex_ray.example import make_example
from dspex_ray.program_optimizers.bootstrapped import Bootstrapped, harvested, labelled_demos, showing
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

ROWS = tuple(make_example({"question": f"{n}?"}, {"answer": str(n)}) for n in range(4))


def predictor(place: str, demos_name: str | None, most: int = 4) -> Predictor:
    fields = (FieldSketch("question", "str", ""),)
    return Predictor(place, "Answer.", f"{place}.instruction", demos_name, most, fields, fields)


SKETCH = ProgramSketch("Answered", "Answer.", (predictor("think", "think.demos"), predictor("say", None, 0)), ROWS)


def step(place: str, question: str, **outcome: Any) -> dict[str, Any]:
    return {"place": place, "input": {"question": question}, **outcome}


def note(*steps: dict[str, Any], error: str | None = None) -> dict[str, Any]:
    return {"error": error, "feedback": None, "trace": list(steps)}


def told(*scores: float | None, notes: Any = None, split: Any = "train", failed: str | None = None) -> Told:
    rows = tuple(range(len(scores)))
    made = [note(step("think", f"{row}?", output={"answer": str(row)})) for row in rows] if notes is None else notes
    return Told(7, Candidate({}), split, rows, scores, (None,) * len(rows), 0.0, failed, notes=tuple(made))


def test_only_rows_that_reach_the_threshold_give_demonstrations() -> None:
    found = harvested(SKETCH, told(1.0, 0.9, None, 1.5))
    assert [(one.row, one.score) for one in found.demos] == [(0, 1.0), (3, 1.5)]
    assert found.passed == (0, 3)
    assert harvested(SKETCH, told(1.0, 0.9, None, 0.2), threshold=0.9).passed == (0, 1)


def test_a_demonstration_says_where_it_comes_from_and_whose_question_it_is() -> None:
    (one,) = harvested(SKETCH, told(0.0, 1.0)).demos
    assert (one.place, one.trial, one.row, one.score) == ("think", 7, 1, 1.0)
    assert one.demo == {"input": {"question": "1?"}, "output": {"answer": "1"}, "of": ROWS[1].content_id}
    assert Bootstrapped.from_json(json.loads(json.dumps(one.to_json()))) == one
    kept = Demos(max=1).validate({"select": "given", "demos": [one.demo]})
    assert kept["demos"] == [one.demo]


def test_a_row_with_an_error_gives_none_whatever_it_scored() -> None:
    right = step("think", "0?", output={"answer": "0"})
    assert harvested(SKETCH, told(1.0, notes=[note(right, error="ValueError: no")])).passed == ()


@pytest.mark.parametrize(("steps", "answers"), [("last", ["b"]), ("all", ["a", "b"])])
def test_of_several_calls_of_a_predictor_the_last_that_was_answered_counts_unless_all_are_wanted(
    steps: Any, answers: list[str]
) -> None:
    calls = [step("think", "0?", output={"answer": answer}) for answer in "ab"]
    calls.insert(1, step("elsewhere", "0?", output={"answer": "z"}))
    calls.append(step("think", "0?", error="no valid output"))
    found = harvested(SKETCH, told(1.0, notes=[note(*calls)]), steps=steps)
    assert [one.demo["output"]["answer"] for one in found.demos] == answers


def test_predictors_that_show_nothing_get_none() -> None:
    said = step("say", "0?", output={"answer": "0"})
    assert harvested(SKETCH, told(1.0, notes=[note(said)])).demos == ()
    assert [one.place for one in showing(SKETCH)] == ["think"]


def test_a_demonstration_that_is_too_long_is_left_out_whole_and_counted() -> None:
    calls = [note(step("think", "why " * size, output={"answer": "0"})) for size in (1, 100)]
    found = harvested(SKETCH, told(1.0, 1.0, notes=calls), most_chars=100)
    assert [one.row for one in found.demos] == [0]
    assert (found.too_long, found.passed) == (1, (0, 1))


def test_a_failed_trial_another_split_and_rows_without_steps_give_none() -> None:
    failed = Told(7, Candidate({}), "train", (), (), (), 0.0, "boom")
    assert harvested(SKETCH, failed).demos == ()
    assert harvested(SKETCH, told(1.0, split="validation")).demos == ()
    untraced = harvested(SKETCH, told(1.0, notes=()))
    assert (untraced.demos, untraced.passed) == ((), (0,))
    assert harvested(SKETCH, told(1.0, notes=[None])).demos == ()


def test_labelled_demonstrations_are_the_train_rows_in_the_pool_that_are_not_too_long() -> None:
    pool = [ROWS[2].id, "of another pool", ROWS[0].id]
    assert labelled_demos(SKETCH, pool) == {
        row.id: {"input": row.input, "output": row.output, "of": row.content_id} for row in (ROWS[0], ROWS[2])
    }
    assert labelled_demos(SKETCH, pool, most_chars=5) == {}
