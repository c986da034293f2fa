"""What a run is compared by when it is resumed, and a new run that begins with what an old one has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dspex_agents.roles.plan import Failure, Outcome
from dspex_coordination import Bool, Candidate, Demos, Float, ResumeError, SearchContext, UnknownSweepError
from dspex_coordination.objectives import COST, SCORE, Bound
from dspex_coordination.sweep import CostSpent, forked

Toy = Any  # the class of the `toy` fixture in conftest.py


def differing(toy: Toy, **options: Any) -> list[str]:
    with pytest.raises(ResumeError) as caught:
        toy.run(**options)
    assert str(caught.value).endswith("or begin a new run with what it has found: --fork run-1.")
    return [line.strip().removeprefix("- ") for line in str(caught.value).splitlines() if line.startswith("  - ")]


def test_objectives_bounds_early_and_earlier_candidates_belong_to_a_run(toy: Toy) -> None:
    toy.optimizer = "random"
    toy.run(run_id="other")
    toy.run()
    context: SearchContext = toy.context()
    more = replace(
        context,
        objectives=(SCORE, COST),
        bounds=(Bound("latency_s", at_most=2.0),),
        early=(Candidate({**context.space.default().values, "terse": True}),),
    )
    changed = differing(toy, context=forked(more, toy.store, "other"))
    assert [line.partition(":")[0] for line in changed] == ["bounds", "earlier", "early", "objectives"]
    assert "is now [{'name': 'score'" in changed[3]


def test_budget_stop_rule_trials_and_unit_sizes_may_change(toy: Toy) -> None:
    toy.optimizer = "random"
    toy.run(budget_usd=3.0)
    toy.trials = 9
    result = toy.run(budget_usd=900.0, stop=CostSpent(1000), chunk=3, workers=5)
    assert len(result.trials) == 9


def test_the_number_of_open_trials_is_that_of_the_record_and_another_one_is_refused(toy: Toy) -> None:
    toy.optimizer = "random"
    sweep = toy.sweep(max_pending_trials=2)
    sweep.open()
    toy.drive(sweep, pushes=2)
    assert differing(toy, max_pending_trials=3) == ["max_pending_trials: was 2, is now 3"]
    assert differing(toy, reproducible=False)[-1] == "reproducible: was True, is now False"
    toy.run()
    asks = [event.data["pending"] for event in toy.store.events("run-1") if event.kind == "ask"]
    assert max(asks) == 1


def test_a_field_of_a_variable_that_an_older_version_does_not_know_is_no_change(toy: Toy) -> None:
    toy.run()
    record = toy.store.load("run-1")
    space = {"variables": {k: dict(v) for k, v in record.config["space"]["variables"].items()}}
    space["variables"]["temperature"] |= {"novelty": None, "wishes": []}
    toy.store.set_config("run-1", {**record.config, "space": space})
    toy.run()
    space["variables"]["temperature"] |= {"novelty": 3}
    toy.store.set_config("run-1", {**record.config, "space": space})
    assert differing(toy) == ["space: variable 'temperature' changed: novelty was 3, is now None"]


def test_a_fork_begins_with_the_old_best_and_knows_the_old_trials(toy: Toy) -> None:
    toy.optimizer = "random"
    broken = Failure("program", "E", "x", retryable=False)
    toy.fault = lambda work: Outcome(work.id, error=broken) if work.payload.trial == 2 else None
    old = toy.run(run_id="old")
    toy.fault = lambda _: None
    context = forked(toy.context(), toy.store, "old")
    assert [told.number for told in context.earlier] == [0, 1, 3, 4, 5, 6]  # a failed trial tells nothing
    for told in context.earlier:
        trial = old.trials[told.number]
        assert (told.candidate, told.rows, told.scores, told.mean) == (
            trial.candidate,
            trial.rows,
            trial.scores,
            trial.mean,
        )
        assert told.measures == trial.measures
    assert [candidate.key for candidate in context.early] == [old.best.candidate.key]
    new = toy.run(run_id="new", context=context)
    assert new.trials[1].candidate == old.best.candidate
    assert toy.store.load("old").status == "finished"


def test_trials_whose_values_do_not_fit_the_new_space_are_left_behind(make_toy: Callable[[], Toy]) -> None:
    toy = make_toy()
    toy.optimizer = "random"
    old = toy.run(run_id="old")
    toy.variables = {"temperature": Float(0.0, 0.6), "demos": Demos(max=4), "terse": Bool()}
    fitting = {t.number for t in old.trials if t.candidate.values["temperature"] <= 0.6 and t.split == "validation"}
    assert 0 < len(fitting) < len(old.trials)
    context = forked(toy.context(), toy.store, "old")
    assert {told.number for told in context.earlier} == fitting
    assert all(context.space.feasible(candidate.values) for candidate in context.early)
    toy.variables = {"style": Bool()}
    assert forked(toy.context(), toy.store, "old") == toy.context()


def test_a_fork_of_an_unknown_run_offers_near_matches(toy: Toy) -> None:
    toy.run(run_id="old")
    with pytest.raises(UnknownSweepError, match="old"):
        forked(toy.context(), toy.store, "odd")
