"""A sweep of BEACON for programs, with looks, errands and rounds, killed anywhere and resumed."""

from __future__ import annotations

from typing import Any

import pytest

from dspex_agents.roles.plan import Outcome, Work
from dspex_coordination import Demos, Float, RowResult, RowsEvaluated, Text
from dspex_ray.example import Example
from dspex_ray.program_optimizers.beacon_programs import BeaconPrograms
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

FIELDS = (FieldSketch("question", "str", ""),)
CALL = Predictor("", "Do.", "instruction", "demos", 3, FIELDS, FIELDS)


def made(toy: Any) -> BeaconPrograms:
    rows = tuple(Example(f"t{i}", {"question": f"{i}?"}, {"question": f"{i}!"}) for i in range(toy.train_rows))
    return BeaconPrograms(ProgramSketch("P", "Do.", (CALL,), rows), proposals=2, rounds=2, every=4, initial=4, block=4)


@pytest.fixture
def written(toy: Any) -> Any:
    toy.variables = {"instruction": Text("Do."), "demos": Demos(max=3), "heat": Float(0.0, 1.0, default=0.5)}
    toy.trials = 9

    def evaluate(work: Work) -> Outcome:
        asked = work.payload
        values = asked.candidate_values
        if asked.split == "errand":
            answer = {"instruction": f"{values['input']['tip']} So said {values['rollout'] % 7}."}
            rows = [RowResult(0, None, answer, 0.01)]
        else:
            worth = len(values["instruction"]) % 5 + len(values["demos"].get("demos", ())) + 3 * values["heat"]
            steps = [{"place": "", "input": {"question": "?"}, "output": {"question": "!"}}] if asked.traced else None
            rows = [RowResult(row, float(row * 3 % 7 < worth), {"row": row}, 0.1, trace=steps) for row in asked.rows]
        return Outcome(work.id, RowsEvaluated(tuple(rows), ({"unit": work.id},)), worker="w")

    toy.evaluate = evaluate
    return toy


def history(result: Any) -> list[Any]:
    return [(trial.number, trial.candidate, trial.scores, trial.cost_usd) for trial in result.trials]


def finished(toy: Any, run_id: str, pushes: int | None = None) -> Any:
    if pushes is not None:
        broken = toy.sweep(optimizer=made(toy), run_id=run_id)
        broken.open()
        assert toy.drive(broken, pushes=pushes) is None, "it was to be killed before its end"
    sweep = toy.sweep(optimizer=made(toy), run_id=run_id)
    sweep.open()
    result = toy.drive(sweep)
    sweep.close()
    return result


@pytest.mark.parametrize("pushes", [1, 2, 3, 5, 8, 12, 17, 23])
def test_a_killed_search_resumes_to_the_same_trials_and_the_same_bill(written: Any, pushes: int) -> None:
    whole = finished(written, "whole")
    resumed = finished(written, "broken", pushes)
    assert {trial.candidate.values["instruction"] for trial in whole.trials} > {"Do."}
    assert history(resumed) == history(whole)
    assert resumed.cost_usd == whole.cost_usd
    assert resumed.best == whole.best
