"""A sweep of BootstrapFewShot, whose demonstrations come of traces, killed anywhere and resumed."""

from __future__ import annotations

from typing import Any

import pytest

from dspex_agents.roles.plan import Outcome, Work
from dspex_coordination import Choice, Demos, RowResult, RowsEvaluated, SpaceError, Text
from dspex_ray.example import Example
from dspex_ray.program_optimizers.bootstrap_few_shot import BootstrapFewShot
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

FIELDS = (FieldSketch("question", "str", ""),)
PARTS = ("look", "say")


def made(toy: Any, **settings: Any) -> BootstrapFewShot:
    predictors = tuple(Predictor(p, "Do.", f"{p}.instruction", f"{p}.demos", 3, FIELDS, FIELDS) for p in PARTS)
    rows = tuple(Example(f"t{i}", {"question": f"{i}?"}, {"question": f"{i}!"}) for i in range(toy.train_rows))
    return BootstrapFewShot(ProgramSketch("P", "Do.", predictors, rows), **{"rows": 5, "bootstrapped": 3, **settings})


@pytest.fixture
def taught(toy: Any) -> Any:
    """Rows 0, 4 and 8 are easy, the others need demonstrations, or the large model for all but every third."""
    toy.variables = {
        "model": Choice(["small", "large"], default="small"),
        **{f"{part}.demos": Demos(max=3) for part in PARTS},
        **{f"{part}.instruction": Text("Do.") for part in PARTS},
    }
    toy.trials = 14
    toy.looked = []

    def evaluate(work: Work) -> Outcome:
        asked = work.payload
        values = asked.candidate_values
        if asked.traced:
            toy.looked.append((asked.trial, values["model"], asked.rows))
        shown = sum(len(values[f"{part}.demos"].get("demos", ())) for part in PARTS)
        able = values["model"] == "large" and asked.split == "train"  # a good teacher, no better a student
        rows = []
        for row in asked.rows:
            score = float(row % 4 == 0 or (able and row % 3 != 0) or row % 7 < shown)
            steps = [
                {"place": part, "input": {"question": f"{row}?"}, "output": {"question": f"{values['model']} {row}!"}}
                for part in PARTS
            ]
            rows.append(RowResult(row, score, {"row": row}, 0.1, trace=steps if asked.traced else None))
        return Outcome(work.id, RowsEvaluated(tuple(rows), ({"unit": work.id},)), worker="w")

    toy.evaluate = evaluate
    return toy


def finished(toy: Any, **options: Any) -> tuple[Any, BootstrapFewShot]:
    optimizer = made(toy)
    sweep = toy.sweep(optimizer=optimizer, **options)
    sweep.open()
    result = toy.drive(sweep)
    sweep.close()
    return result, optimizer


def test_the_demonstrations_it_made_win_and_say_where_they_come_from(taught: Any) -> None:
    result, optimizer = finished(taught)
    trials = {trial.number: trial for trial in result.trials}
    best = result.best.candidate.values
    shown = [demo for part in PARTS for demo in best[f"{part}.demos"].get("demos", ())]
    assert result.best.mean > trials[0].mean
    assert any(demo in shown for demo in (one.demo for one in optimizer.harvest))
    for one in optimizer.harvest:
        assert trials[one.trial].split == "train"
        assert one.row in trials[one.trial].rows
        assert one.score == 1.0


def test_the_other_model_teaches_the_rows_that_were_not_solved(taught: Any) -> None:
    _, optimizer = finished(taught)
    (first, model, rows), *others = taught.looked
    assert model == "small"
    solved = {one.row for one in optimizer.harvest if one.trial == first}
    larger = [asked for number, model, asked in others if model == "large"]
    assert larger
    assert solved.isdisjoint(row for asked in larger for row in asked)
    assert set(rows) - solved <= {row for asked in larger for row in asked}
    assert any(one.demo["output"]["question"].startswith("large") for one in optimizer.harvest)


@pytest.mark.parametrize("pushes", range(1, 26, 3))
def test_a_search_resumes_to_the_same_result_wherever_it_is_killed(taught: Any, pushes: int) -> None:
    whole, first = finished(taught, run_id="whole")
    broken = taught.sweep(optimizer=made(taught), run_id="broken")
    broken.open()
    assert taught.drive(broken, pushes=pushes) is None, "it was to be killed before its end"
    again = made(taught)
    resumed = taught.sweep(optimizer=again, run_id="broken")
    resumed.open()
    result = taught.drive(resumed)
    assert [(t.number, t.candidate, t.scores, t.cost_usd) for t in result.trials] == [
        (t.number, t.candidate, t.scores, t.cost_usd) for t in whole.trials
    ]
    assert (result.cost_usd, again.harvest) == (whole.cost_usd, first.harvest)
    assert again.state_dict() == first.state_dict()


def test_a_teacher_that_is_named_teaches_from_the_start_and_a_wrong_one_is_refused(taught: Any) -> None:
    sweep = taught.sweep(optimizer=made(taught, teacher={"model": "large"}))
    sweep.open()
    result = taught.drive(sweep)
    assert {model for _, model, _ in taught.looked} == {"large"}
    assert result.best.candidate.values["model"] == "small"
    with pytest.raises(SpaceError, match="huge"):
        made(taught, teacher={"model": "huge"}).start(taught.context())


def test_no_looks_no_demonstrations_of_its_own(taught: Any) -> None:
    sweep = taught.sweep(optimizer=made(taught, looks=0))
    sweep.open()
    result = taught.drive(sweep)
    assert taught.looked == []
    assert len(result.trials) == taught.trials
