"""PED-ANOVA: against the figures of its reference, and what must hold of any search."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_coordination import Bool, Choice, Float, Int, Space
from dspex_coordination.analysis import FinishedTrial, SearchRun, importances
from dspex_coordination.candidate import Candidate
from dspex_coordination.errors import SweepError
from dspex_coordination.objectives import Objective

MIXED = Space(
    {
        "x": Float(-10, 10),
        "lr": Float(1e-4, 1, log=True),
        "n": Int(1, 9),
        "c": Choice(["a", "b", "c"]),
        "b": Bool(),
    }
)


def spread(count: int) -> list[dict[str, Any]]:
    """Return values that fill the mixed space evenly, by simple arithmetic and no random generator."""
    return [
        {
            "x": -10 + 20 * ((i * 0.618033988749895) % 1),
            "lr": 10 ** (-4 + 4 * ((i * 0.414213562373095) % 1)),
            "n": 1 + i * 7 % 9,
            "c": "abc"[i * 2 % 3],
            "b": i % 4 < 2,
        }
        for i in range(count)
    ]


def search(space: Space, values: list[dict[str, Any]], score: Callable[[dict[str, Any]], float]) -> SearchRun:
    trials = tuple(FinishedTrial(i, Candidate(v), range(1), {"score": score(v)}) for i, v in enumerate(values))
    return SearchRun("run-1", space.to_json(), trials)


def quality(values: dict[str, Any]) -> float:
    return -((values["x"] - 3) ** 2) + 5 * values["n"] + (10 if values["c"] == "b" else 0)


def shares(run: SearchRun, measure: str | None = None, top_share: float = 0.1) -> dict[str, float]:
    return {one.name: one.share for one in importances(run, measure, top_share)}


def test_the_shares_are_those_of_the_reference_implementation() -> None:
    """PedAnovaImportanceEvaluator of Optuna 5.0.0 on the same 100 trials."""
    expected = {
        "n": 0.4717583775654278,
        "x": 0.4562639352624133,
        "c": 0.05216324285972619,
        "lr": 0.01587990467045189,
        "b": 0.003934539641980853,
    }
    assert shares(search(MIXED, spread(100), quality)) == pytest.approx(expected, rel=1e-9)


def test_the_one_variable_that_decides_has_nearly_all_and_a_constant_one_nothing() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1), "fixed": Choice(["only"])})
    values = [{"x": i * 0.618 % 1, "y": i * 0.414 % 1, "fixed": "only"} for i in range(200)]
    found = importances(search(space, values, lambda v: v["x"]))
    assert found[0].name == "x"
    assert found[0].share > 0.9
    assert {one.name: one.share for one in found}["fixed"] == 0.0


def test_what_is_to_be_small_is_weighed_by_the_small() -> None:
    values = spread(100)
    up = search(MIXED, values, quality)
    down = search(MIXED, values, lambda v: -quality(v))
    minimised = SearchRun("run-1", MIXED.to_json(), down.trials, (Objective("score", "minimize"),))
    assert shares(minimised) == pytest.approx(shares(up))


def test_a_variable_that_matters_where_it_is_active_outweighs_one_that_never_does() -> None:
    rng = random.Random(5)
    space = Space(
        {"model": Choice(["a", "b"]), "heat": Float(0, 1, when={"model": "b"}), "noise": Float(0, 1)},
    )
    values = [dict(space.sample(rng).values) for _ in range(200)]
    found = shares(search(space, values, lambda v: (1 - v["heat"]) if v["model"] == "b" else 0.4))
    assert found["heat"] > 5 * found["noise"]
    assert found["model"] > found["noise"]


def test_too_few_trials_equal_trials_and_a_wrong_share_are_errors_in_words() -> None:
    with pytest.raises(SweepError, match="has 3 trials with 'score'; importance needs at least 4"):
        importances(search(MIXED, spread(3), quality))
    with pytest.raises(SweepError, match="All 20 trials of sweep 'run-1' are equally good by 'score'"):
        importances(search(MIXED, spread(20), lambda _: 0.5))
    with pytest.raises(SweepError, match=r"above 0 and at most 0\.5, got 0\.9"):
        importances(search(MIXED, spread(20), quality), top_share=0.9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=4, max_size=40), st.integers(0, 2**31))
def test_shares_are_a_distribution_and_do_not_depend_on_the_order_of_the_trials(scores: list[float], seed: int) -> None:
    values = spread(len(scores))
    trials = [
        FinishedTrial(i, Candidate(v), range(1), {"score": s})
        for i, (v, s) in enumerate(zip(values, scores, strict=True))
    ]
    try:
        found = shares(SearchRun("run-1", MIXED.to_json(), tuple(trials)))
    except SweepError as error:
        assert "equally good" in str(error)  # noqa: PT017 - an outcome of this property, not the expected error
        return
    assert all(share >= 0 for share in found.values())
    assert sum(found.values()) == pytest.approx(1.0)
    random.Random(seed).shuffle(trials)
    assert shares(SearchRun("run-1", MIXED.to_json(), tuple(trials))) == pytest.approx(found)
