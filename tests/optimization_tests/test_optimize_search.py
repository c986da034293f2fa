"""`optimize` on more than one score: objectives, bounds, stop rules, early values, forks, tied variables."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import pytest

import dspex_ray as dspex
from dspex_coordination.sweep import SweepStore
from dspex_ray.calls import recorded_call
from dspex_ray.errors import UsageError
from dspex_ray.lm.base import ChatMessage, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.optimized import Optimized
from dspex_ray.store import Store

ROWS = [{"number": number, "double": 2 * number} for number in range(30)]


class Priced:
    """A model whose every token costs."""

    model = "test/priced"

    async def complete(self, request: LMRequest) -> LMReply:
        tokens = request.max_tokens or 0
        return LMReply(text="", model=self.model, usage=Usage(completion_tokens=tokens), cost_usd=tokens * 1e-4)

    async def stream(self, request: LMRequest) -> Any:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None: ...


class Doubler(dspex.Program):
    """Double the number: right for more rows the more effort is spent; the careful style costs twice as much."""

    class Input(dspex.Schema):
        number: int

    class Output(dspex.Schema):
        double: int

    effort = dspex.Int(1, 30, default=5)
    style = dspex.Choice(["plain", "careful"])
    checks = dspex.Int(1, 4, default=1, when={"style": "careful"})
    constraints: ClassVar[list[Any]] = [dspex.V("effort") + 5 * dspex.V("checks") <= 40]

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        reach = self.effort + (3 * self.checks if self.style == "careful" else 0)
        tokens = self.effort * (2 if self.style == "careful" else 1)
        request = LMRequest(messages=(ChatMessage("user", str(input.number)),), max_tokens=tokens)
        await recorded_call(self.lm, request, self.path)
        return self.Output(double=2 * input.number if input.number < reach else 0)


def optimized(store: Store, **options: Any) -> Optimized:
    defaults: dict[str, Any] = {"trials": 12, "seed": 3, "runtime": "in-process", "store": store}
    return dspex.optimize(Doubler().with_lm(Priced()), ROWS, **{**defaults, **options})


def test_several_objectives_give_a_front_from_which_any_program_can_be_picked(store: Store) -> None:
    found = optimized(store, objectives=["score", "cost_usd"], trials=25)
    points = sorted((trial.measures["cost_usd"], trial.measures["score"]) for trial in found.pareto)
    assert len(points) > 2
    assert all(before[1] < after[1] for before, after in pairwise(points))
    cheap, good = found.pick("cheap"), found.pick("quality")
    assert cheap.effort < good.effort
    limit = points[1][0]
    within = found.pick(cost_usd=limit)
    assert within.values == next(
        trial.candidate.to_json() for trial in found.pareto if trial.measures["cost_usd"] == limit
    )
    assert found.pick().values in [trial.candidate.to_json() for trial in found.pareto]


def test_a_pick_that_cannot_be_says_what_comes_nearest(store: Store) -> None:
    found = optimized(store, objectives=["score", "cost_usd"], trials=4)
    with pytest.raises(UsageError, match="No result keeps the limits; the nearest is trial"):
        found.pick(cost_usd=1e-9)
    with pytest.raises(UsageError, match="Unknown preference 'fastest'"):
        found.pick("fastest")
    with pytest.raises(UsageError, match="a preference or limits, not both"):
        found.pick("cheap", cost_usd=1.0)


def test_a_bound_keeps_the_dear_candidates_from_being_the_best(store: Store) -> None:
    free, bound = optimized(store), optimized(store, bounds=[dspex.Bound("cost_usd", at_most=0.0015)])
    assert free.score > bound.score
    assert bound.program.effort * (2 if bound.program.style == "careful" else 1) <= 15


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (dspex.TrialsDone(5), "TrialsDone(trials=5)"),
        (dspex.CallsSpent(40), "CallsSpent(calls=40)"),
        (dspex.CostSpent(0.02) | dspex.NoImprovement(50), "CostSpent(usd=0.02)"),
    ],
)
def test_a_stop_rule_ends_the_search_and_is_named(store: Store, stop: Any, said: str) -> None:
    found = optimized(store, stop=stop, trials=300, optimizer="random")
    assert found.stopped_by == said
    assert len(found.history) < 30
    assert found.version.facts["stopped_by"] == said


def test_early_values_come_right_after_the_default(store: Store) -> None:
    found = optimized(store, trials=3, early=[{"style": "careful", "checks": 2}, {"effort": 30}])
    assert [trial.candidate.values["effort"] for trial in found.history] == [5, 5, 30]
    assert found.history[1].candidate.values["checks"] == 2
    with pytest.raises(UsageError, match="checks: is inactive unless style == 'careful'"):
        optimized(store, early=[{"checks": 2}])


def test_a_fork_begins_with_the_best_of_the_earlier_run(store: Store) -> None:
    first = optimized(store, trials=15)
    forked = optimized(store, trials=4, fork=first.run_id, seed=9)
    assert forked.run_id != first.run_id
    assert forked.history[1].candidate == max(first.history, key=lambda trial: trial.mean or 0.0).candidate
    assert forked.score == first.score
    assert forked.version.facts["forked_from"] == first.run_id


def test_a_resumed_run_keeps_the_optimizer_that_auto_chose_and_may_get_more_trials(
    make_store: Callable[[], Store],
) -> None:
    store, other = make_store(), make_store()
    short = optimized(store, trials=6)
    longer = optimized(store, trials=10, resume=short.run_id)
    whole = optimized(other, trials=10, optimizer=SweepStore(store.database).load(short.run_id).config["optimizer"])
    assert [trial.candidate for trial in longer.history] == [trial.candidate for trial in whole.history]


def test_no_infeasible_candidate_is_ever_evaluated(store: Store) -> None:
    for name in ("random", "genetic", "beacon", "nsga2", "sobol", "latin", "population", "racing", "halving:genetic"):
        for trial in optimized(store, optimizer=name, trials=15).history:
            assert Doubler.space().feasible(trial.candidate.values), name


def test_a_run_in_any_order_finds_as_good_a_program(store: Store) -> None:
    assert optimized(store, reproducible=False, trials=20).score > optimized(store, trials=1).score


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objectives": ["score", "score"]}, "Each objective is given once; 'score'"),
        ({"objectives": [""]}, "An objective names a measure"),
        ({"optimizer": "racing:genetik"}, "Unknown optimizer 'racing:genetik'"),
        ({"fork": "run-none"}, "No sweep 'run-none'"),
    ],
)
def test_what_cannot_be_searched_is_told_before_anything_runs(store: Store, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        optimized(store, **options)
    assert SweepStore(store.database).list_sweeps() == ()


def test_an_objective_that_no_result_has_is_told(store: Store) -> None:
    with pytest.raises(dspex.DspexError, match="No measure 'beauty'"):
        optimized(store, objectives=["score", "beauty"], trials=2)
