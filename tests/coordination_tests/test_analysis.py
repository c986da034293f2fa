"""What the trials of a search tell, on trials written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import pytest

from dspex_coordination import Choice, Demos, Float, Int, Space
from dspex_coordination.analysis import (
    FinishedTrial,
    SearchRun,
    dimensions,
    history,
    paired_scores,
    parallel_coordinates,
    reached,
    space_changes,
    standings,
    tradeoffs,
)
from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import SweepError
from dspex_coordination.objectives import COST, SCORE, Bound, Objective
from dspex_coordination.optimizers.base import Split

SPACE = Space({"x": Float(0.0, 1.0)})


def told(
    number: int,
    *scores: float,
    cost: float = 0.0,
    measures: Mapping[str, float] | None = None,
    split: Split = "validation",
    failed: str | None = None,
) -> FinishedTrial:
    means = {**(measures or {}), "score": fmean(scores)} if scores else {}
    candidate = Candidate({"x": number / 100})
    return FinishedTrial(number, candidate, range(len(scores)), means, cost, failed, split)


def run(*trials: FinishedTrial, **options: Any) -> SearchRun:
    return SearchRun(**{"run_id": "run-1", "space_json": SPACE.to_json(), "trials": trials, **options})


# history --------------------------------------------------------------------------------------------------------
def test_the_history_counts_every_trial_told_but_shows_only_scored_ones_on_validation_rows() -> None:
    steps = history(
        run(
            told(0, 0.5, cost=1.0),
            told(1, 0.9, cost=2.0, split="train"),
            told(2, cost=4.0, failed="boom"),
            told(3, 0.4, cost=8.0),
            told(4, 0.7, cost=16.0),
        )
    )
    assert [(s.trial, s.told, s.value, s.best, s.leader, s.cost_usd) for s in steps] == [
        (0, 1, 0.5, 0.5, 0, 1.0),
        (3, 4, 0.4, 0.5, 0, 15.0),
        (4, 5, 0.7, 0.7, 4, 31.0),
    ]


def test_the_best_so_far_gets_worse_where_a_longer_look_replaces_a_lucky_short_one() -> None:
    steps = history(run(told(0, 0.9), told(1, 0.5, 0.5), told(2, 1.0)))
    assert [step.best for step in steps] == [0.9, 0.5, 0.5]


def test_a_measure_to_be_small_improves_downwards_and_a_bound_comes_before_it() -> None:
    trials = (
        told(0, 0.9, measures={"latency_s": 5.0}),
        told(1, 0.2, measures={"latency_s": 1.0}),
        told(2, 0.9, measures={"latency_s": 3.0}),
    )
    assert [step.best for step in history(run(*trials), "latency_s")] == [5.0, 1.0, 1.0]
    bounded = run(*trials, bounds=(Bound("score", at_least=0.5),))
    assert [step.best for step in history(bounded, "latency_s")] == [5.0, 5.0, 3.0]


def test_the_first_step_as_good_as_a_threshold_is_found_in_either_direction() -> None:
    up = history(run(told(0, 0.2), told(1, 0.6), told(2, 0.8)))
    assert [getattr(reached(up, SCORE, level), "trial", None) for level in (0.1, 0.6, 0.7, 0.9)] == [0, 1, 2, None]
    trials = (told(0, 0.2, measures={"cost_usd": 3.0}), told(1, 0.2, measures={"cost_usd": 1.0}))
    down = history(run(*trials), "cost_usd")
    assert [getattr(reached(down, COST, level), "trial", None) for level in (3.0, 2.0, 0.5)] == [0, 1, None]


def test_a_search_without_scores_and_an_unknown_measure_are_told_apart() -> None:
    with pytest.raises(SweepError, match="'run-1' has no scored trial yet"):
        history(run(told(0, failed="boom")))
    with pytest.raises(SweepError, match=r"No trial of sweep 'run-1' has a measure 'scor'. Did you mean 'score'"):
        history(run(told(0, 0.5)), "scor")


def test_a_measure_is_judged_as_the_search_did_else_by_what_it_is() -> None:
    measures = {"cost_usd": 1.0, "latency_p95_s": 1.0, "words": 1.0}
    one = run(told(0, 0.5, measures=measures), objectives=(SCORE, Objective("words", "minimize")))
    assert {name: one.objective(name).direction for name in one.measures} == {
        "score": "maximize",
        "cost_usd": "minimize",
        "latency_p95_s": "minimize",
        "words": "minimize",
    }
    assert run(told(0, 0.5, measures=measures)).objective("words").direction == "maximize"


# fronts ---------------------------------------------------------------------------------------------------------
def test_the_front_holds_what_no_other_beats_and_only_the_longest_looks() -> None:
    points = tradeoffs(
        run(
            told(0, 0.5, 0.5, measures={"cost_usd": 1.0}),
            told(1, 0.5, 0.5, measures={"cost_usd": 2.0}),
            told(2, 0.9, 0.9, measures={"cost_usd": 3.0}),
            told(3, 1.0, measures={"cost_usd": 0.1}),
        ),
        "cost_usd",
        "score",
    )
    assert [(p.trial, p.leads, p.rows) for p in points] == [(0, True, 2), (1, False, 2), (2, True, 2), (3, False, 1)]


def test_a_trial_that_breaks_a_bound_is_marked_and_leads_only_where_all_do() -> None:
    trials = (told(0, 0.5, measures={"cost_usd": 1.0}), told(1, 0.9, measures={"cost_usd": 9.0}))
    points = tradeoffs(run(*trials, bounds=(Bound("cost_usd", at_most=2.0),)), "cost_usd", "score")
    assert [(p.leads, p.feasible) for p in points] == [(True, True), (False, False)]


def test_a_front_of_one_measure_against_itself_is_refused() -> None:
    with pytest.raises(SweepError, match=r"two different measures, got 'score' twice; there are score\."):
        tradeoffs(run(told(0, 0.5)), "score", "score")


# side by side -------------------------------------------------------------------------------------------------------
def test_searches_are_compared_by_what_all_of_them_reached() -> None:
    quick = run(told(0, 0.2, cost=1.0), told(1, 0.8, cost=1.0), run_id="quick")
    slow = run(told(0, 0.2, cost=3.0), told(1, 0.3, cost=3.0), told(2, 0.6, cost=3.0), run_id="slow")
    objective, level, found = standings((quick, slow))
    assert (objective, level) == (SCORE, 0.6)
    assert [(s.run.run_id, s.best.number, s.last.best) for s in found] == [("quick", 1, 0.8), ("slow", 2, 0.6)]
    assert [(s.reached.told, s.reached.cost_usd) for s in found if s.reached] == [(2, 2.0), (3, 9.0)]
    assert [s.reached for s in standings((quick, slow), threshold=0.7)[2]][1] is None


def test_searches_that_judge_a_measure_differently_are_not_compared() -> None:
    words = {"words": 3.0}
    one = run(told(0, 0.5, measures=words), run_id="one")
    other = run(told(0, 0.5, measures=words), run_id="other", objectives=(Objective("words", "minimize"),))
    with pytest.raises(SweepError, match="'one' and 'other' cannot be compared by 'words'"):
        standings((one, other), "words")


def test_scores_are_paired_on_the_rows_that_both_trials_have() -> None:
    one = {4: 0.4, 1: 0.1, 2: None}
    other = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}
    assert paired_scores(one, other) == ((0.1, 0.4), (1.0, 4.0))


def test_the_differences_of_two_spaces_name_variables_and_fields() -> None:
    before = Space({"a": Int(1, 5), "b": Float(0.0, 1.0), "c": Choice(["x"])})
    after = Space({"a": Int(1, 9, default=3), "b": Float(0.0, 1.0), "d": Choice(["x"])})
    assert space_changes(before.to_json(), after.to_json()) == (
        "variable 'd' is in the second only",
        "variable 'c' is in the first only",
        "variable 'a' differs: high 5 and 9",
    )
    assert space_changes(before.to_json(), before.to_json()) == ()


# axes -----------------------------------------------------------------------------------------------------------
def test_numbers_lie_by_their_distribution_options_evenly_and_demonstrations_on_two_axes() -> None:
    space = Space(
        {
            "rate": Float(0.01, 1.0, log=True),
            "model": Choice(["a", "b", None], weights=[8, 1, 1]),
            "size": Choice(["s", "m", "l"], ordered=True),
            "demos": Demos(max=4),
        }
    )
    values = {"rate": 0.1, "model": None, "size": "m", "demos": {"select": "nearest", "k": 3}}
    axes = {axis.name: axis for axis in dimensions(space, [Candidate(values), space.default()])}
    assert list(axes) == ["rate", "model", "size", "demos.select", "demos.count"]
    assert axes["rate"].positions[0] == pytest.approx(0.5)
    assert [label for _, label in axes["rate"].ticks][0::4] == ["0.01", "1"]
    assert axes["model"].positions == (1.0, 0.0)
    assert axes["model"].ticks == ((0.0, "a"), (0.5, "b"), (1.0, "null"))
    assert (axes["size"].kind, axes["size"].positions[0]) == ("numeric", pytest.approx(0.5))
    assert axes["demos.select"].positions == (1.0, 0.0)
    assert axes["demos.count"].positions == (0.75, 0.0)
    assert [axis.steps for axis in axes.values()] == [50, 3, 3, 2, 5]


def test_an_inactive_variable_has_no_place_on_its_axis() -> None:
    space = Space({"model": Choice(["a", "b"]), "depth": Int(1, 9, when={"model": "b"})})
    candidates = [space.complete({"model": "a"}), space.complete({"model": "b", "depth": 9})]
    depth = dimensions(space, candidates)[1]
    assert depth.positions[0] is None
    assert depth.positions[1] is not None
    assert depth.active == 1


def test_parallel_coordinates_have_a_value_a_trial_and_need_a_variable() -> None:
    shown = parallel_coordinates(run(told(0, 0.5), told(1, failed="boom"), told(7, 0.7)))
    assert (shown.trials, shown.values) == ((0, 7), (0.5, 0.7))
    assert shown.axes[0].positions == (0.0, pytest.approx(0.07))
    empty = FinishedTrial(0, Candidate({}), range(1), {"score": 0.5})
    with pytest.raises(SweepError, match="has no variable"):
        parallel_coordinates(run(empty, space_json=Space({}).to_json()))
