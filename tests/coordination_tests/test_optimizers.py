"""The optimizer contract, on every optimizer, and what is special to each."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_coordination import (
    OPTIMIZERS,
    Ask,
    Bool,
    BootstrapDemos,
    Candidate,
    Choice,
    Demos,
    Float,
    Int,
    Optimizer,
    OptimizerError,
    RandomSearch,
    SearchContext,
    Space,
    Told,
    UnknownOptimizerError,
    Variable,
    make_optimizer,
)

every_optimizer = pytest.mark.parametrize("name", ["bootstrap", "random"])  # those that wait for no score


def context(
    variables: Mapping[str, Variable[Any]] | None = None, *, trials: int = 12, seed: int = 3, train: int = 30
) -> SearchContext:
    usual: dict[str, Variable[Any]] = {"demos": Demos(max=8), "temperature": Float(0, 1)}
    chosen = usual if variables is None else variables
    ids, labels = tuple(f"e{i}" for i in range(train)), tuple("xyz"[i % 3] for i in range(train))
    return SearchContext(Space(chosen), seed, trials, ids, labels, train, validation_rows=5)


def started(name: str, given_context: SearchContext) -> Optimizer:
    optimizer = make_optimizer(name, seed=given_context.seed, max_trials=given_context.max_trials)
    optimizer.start(given_context)
    return optimizer


def answer(number: int, ask: Ask, given_context: SearchContext, failed: str | None = None) -> Told:
    """A result that depends on the candidate alone; every third train row is answered well."""
    rows = tuple(range(given_context.rows_of(ask.split))) if ask.rows is None else ask.rows
    rows = () if failed else rows
    rng = random.Random(ask.candidate.key)
    scores = tuple(float(row % 3 == 0) if ask.split == "train" else rng.random() for row in rows)
    return Told(number, ask.candidate, ask.split, rows, scores, ("out",) * len(rows), 0.5, failed)


def searched(
    name: str, given_context: SearchContext, pending_bound: int = 1, order: int = 0
) -> tuple[list[Ask], Optimizer]:
    """Ask up to the bound, tell a random pending one, until done."""
    optimizer, rng = started(name, given_context), random.Random(order)
    asks: list[Ask] = []
    pending: list[int] = []
    while not optimizer.done or pending:
        ask = optimizer.ask(len(pending)) if len(pending) < pending_bound else None
        if ask is not None:
            pending.append(len(asks))
            asks.append(ask)
        elif pending:
            number = pending.pop(rng.randrange(len(pending)))
            optimizer.tell(answer(number, asks[number], given_context))
    return asks, optimizer


@every_optimizer
def test_trial_0_is_the_default_on_all_validation_rows(name: str) -> None:
    here = context()
    assert started(name, here).ask(0) == Ask(here.space.default(), "validation", None)


@every_optimizer
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), bound=st.integers(1, 9), order=st.integers(0, 99))
def test_the_same_trials_are_asked_whatever_is_pending(name: str, seed: int, bound: int, order: int) -> None:
    here = context(seed=seed)
    asks, one = searched(name, here)
    others, many = searched(name, here, bound, order)
    assert asks == others
    assert one.best() == many.best()


@every_optimizer
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), trials=st.integers(1, 40))
def test_no_candidate_repeats_and_all_fit_the_space(name: str, seed: int, trials: int) -> None:
    here = context(trials=trials, seed=seed)
    asks, _ = searched(name, here)
    keys = [ask.candidate.key for ask in asks if ask.split == "validation"]
    assert len(asks) == trials
    assert len(set(keys)) == len(keys)
    bound = here.space.bind(here.train_ids)
    assert all(bound.validate(ask.candidate.values) == ask.candidate for ask in asks)


@every_optimizer
def test_another_seed_searches_elsewhere(name: str) -> None:
    assert searched(name, context(seed=1))[0] != searched(name, context(seed=2))[0]


@every_optimizer
def test_a_finite_space_is_exhausted_exactly(name: str) -> None:
    here = context({"demos": Demos(max=2), "terse": Bool(), "n": Int(1, 3)}, trials=5000, train=3)
    asks, optimizer = searched(name, here)
    count = here.space.bind(here.train_ids).cardinality
    assert count == (2 + 1 + 3 + 6) * 2 * 3
    assert len({ask.candidate.key for ask in asks}) == count
    assert optimizer.done
    assert optimizer.ask(0) is None


@every_optimizer
@settings(max_examples=20, deadline=None)
@given(stop=st.integers(0, 11), seed=st.integers(0, 999))
def test_a_state_that_went_through_json_goes_on_the_same(name: str, stop: int, seed: int) -> None:
    here = context(seed=seed)
    whole, first = searched(name, here), started(name, here)
    for number in range(stop):
        ask = first.ask(0)
        assert ask is not None
        first.tell(answer(number, ask, here))
    second = started(name, here)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.best() == first.best()
    rest: list[Ask] = []
    while (ask := second.ask(0)) is not None:
        second.tell(answer(stop + len(rest), ask, here))
        rest.append(ask)
    assert rest == whole[0][stop:]
    assert second.best() == whole[1].best()


@every_optimizer
def test_best_is_the_highest_mean_and_the_earlier_of_a_tie(name: str) -> None:
    optimizer = started(name, context())
    asks = [ask for ask in (optimizer.ask(i) for i in range(2)) if ask is not None]
    baseline = Told(0, asks[0].candidate, "validation", (0, 1), (0.5, 0.5), (None, None), 0.0, None)
    if asks[1].split == "train":
        optimizer.tell(answer(1, asks[1], context()))
    ask = optimizer.ask(1) if asks[1].split == "train" else asks[1]
    assert ask is not None
    number = 2 if asks[1].split == "train" else 1
    optimizer.tell(Told(number, ask.candidate, "validation", (0, 1), (1.0, 0.0), (None, None), 0.0, None))
    optimizer.tell(baseline)
    assert optimizer.best() == baseline


@every_optimizer
def test_failed_trials_are_never_best(name: str) -> None:
    here = context(trials=4)
    optimizer = started(name, here)
    for number in range(4):
        ask = optimizer.ask(0)
        assert ask is not None
        optimizer.tell(answer(number, ask, here, failed="boom"))
    assert optimizer.done
    assert optimizer.best() is None


@every_optimizer
def test_telling_out_of_turn_is_refused(name: str) -> None:
    here = context()
    optimizer = started(name, here)
    ask = optimizer.ask(0)
    assert ask is not None
    told = answer(0, ask, here)
    with pytest.raises(OptimizerError, match="trial 5 was told but never asked"):
        optimizer.tell(Told(5, told.candidate, "validation", (), (), (), 0.0, None))
    with pytest.raises(OptimizerError, match=r"trial 0 asked for .* but was told of"):
        optimizer.tell(Told(0, Candidate({"x": 1}), "validation", (), (), (), 0.0, None))
    optimizer.tell(told)
    with pytest.raises(OptimizerError, match="trial 0 was told twice"):
        optimizer.tell(told)


@every_optimizer
def test_an_optimizer_made_for_another_search_is_refused(name: str) -> None:
    with pytest.raises(OptimizerError, match="made with seed=4 but the search has seed=3"):
        make_optimizer(name, seed=4, max_trials=12).start(context(seed=3))


@every_optimizer
def test_a_call_before_start_is_refused(name: str) -> None:
    with pytest.raises(OptimizerError, match="start"):
        make_optimizer(name, seed=4, max_trials=12).ask(0)


def test_the_state_of_another_optimizer_is_refused() -> None:
    with pytest.raises(OptimizerError, match="'random' cannot be loaded into 'bootstrap'"):
        started("bootstrap", context()).load_state_dict(started("random", context()).state_dict())


def test_an_unknown_optimizer_is_answered_with_near_matches() -> None:
    with pytest.raises(UnknownOptimizerError, match=r"'randon'\. Did you mean 'random'"):
        make_optimizer("randon", seed=0, max_trials=3)


def test_wrong_lengths_and_non_finite_scores_are_refused() -> None:
    with pytest.raises(OptimizerError, match="2 rows need as many scores"):
        Told(0, Candidate({}), "validation", (0, 1), (1.0,), (None, None), 0.0, None)
    with pytest.raises(OptimizerError, match="scores must be finite"):
        Told(0, Candidate({}), "validation", (0,), (float("nan"),), (None,), 0.0, None)


def test_a_context_without_validation_rows_or_with_too_few_ids_is_refused() -> None:
    with pytest.raises(OptimizerError, match="validation split has no rows"):
        SearchContext(Space({}), 0, 1, (), None, 0, 0)
    with pytest.raises(OptimizerError, match="3 train rows need as many train_ids, got 1"):
        SearchContext(Space({}), 0, 1, ("a",), None, 3, 1)


def test_random_search_on_an_empty_space_asks_only_the_default() -> None:
    asks, optimizer = searched("random", context({}, trials=9))
    assert [dict(ask.candidate.values) for ask in asks] == [{}]
    assert optimizer.done


def test_random_search_draws_demonstrations_from_the_train_ids() -> None:
    asks, _ = searched("random", context({"demos": Demos(max=3, select=["fixed"])}, trials=9))
    assert all(set(ask.candidate.values["demos"]["ids"]) <= {f"e{i}" for i in range(30)} for ask in asks)
    assert all(ask.candidate.values["demos"]["ids"] for ask in asks[1:])


def demos_of(asks: list[Ask]) -> list[dict[str, Any]]:
    return [ask.candidate.values["demos"] for ask in asks if ask.split == "validation"][1:]


def test_bootstrap_needs_demos_and_says_what_to_do() -> None:
    with pytest.raises(OptimizerError, match=r"needs a Demos variable, this space has t\. .*'random'"):
        started("bootstrap", context({"t": Float(0, 1)}))


def test_bootstrap_waits_for_the_train_trial_and_only_for_it() -> None:
    here = context(train=200)
    optimizer = started("bootstrap", here)
    first, second = optimizer.ask(0), optimizer.ask(1)
    assert first is not None
    assert second is not None
    assert (second.split, second.candidate) == ("train", here.space.default())
    assert second.rows is not None
    assert len(second.rows) == 64
    assert optimizer.ask(2) is None
    assert not optimizer.done
    optimizer.tell(answer(1, second, here))
    assert optimizer.ask(1) is not None


def test_bootstrapped_demonstrations_are_the_train_rows_answered_well() -> None:
    here = context({"demos": Demos(max=4, select=["fixed"])}, trials=20)
    optimizer = BootstrapDemos(threshold=1.0)
    optimizer.start(here)
    assert optimizer.ask(0) is not None
    ask = optimizer.ask(1)
    assert ask is not None
    optimizer.tell(answer(1, ask, here))
    good = tuple(f"e{i}" for i in range(0, 30, 3))
    assert optimizer.bootstrapped == good
    drawn = [optimizer.ask(1) for _ in range(18)]
    sets = [set(one.candidate.values["demos"]["ids"]) for one in drawn if one is not None]
    assert sum(ids <= set(good) for ids in sets) >= 4


def test_a_failed_train_trial_leaves_the_other_families() -> None:
    here = context(trials=10)
    optimizer = started("bootstrap", here)
    assert optimizer.ask(0) is not None
    ask = optimizer.ask(1)
    assert ask is not None
    optimizer.tell(answer(1, ask, here, failed="no model"))
    assert all(optimizer.ask(1) is not None for _ in range(8))


@pytest.mark.parametrize("seed", range(10))
def test_the_first_candidate_is_a_nearest_one_and_thirty_trials_hold_every_k(seed: int) -> None:
    few, _ = searched("bootstrap", context(trials=3, seed=seed))
    assert [demos["select"] for demos in demos_of(few)] == ["nearest"]
    many, _ = searched("bootstrap", context({"demos": Demos(max=12)}, trials=30, seed=seed))
    assert {demos["k"] for demos in demos_of(many) if demos["select"] == "nearest"} >= {1, 2, 4, 8, 12}


def test_nearest_is_never_asked_where_the_variable_forbids_it() -> None:
    asks, _ = searched("bootstrap", context({"demos": Demos(max=4, select=["fixed"])}, trials=25))
    assert {demos["select"] for demos in demos_of(asks)} == {"fixed"}


def test_balanced_sets_hold_no_label_twice_before_each_was_taken() -> None:
    here = context({"demos": Demos(max=6, select=["fixed"])}, trials=3)
    optimizer = BootstrapDemos()
    optimizer.start(here)
    for seed in range(20):
        ids = optimizer._balanced(5, random.Random(seed))
        counts = sorted(sum(int(one[1:]) % 3 == label for one in ids) for label in range(3))
        assert counts == [1, 2, 2]


def test_set_sizes_vary_and_respect_max() -> None:
    asks, _ = searched("bootstrap", context({"demos": Demos(max=8, select=["fixed"])}, trials=40))
    sizes = {len(demos["ids"]) for demos in demos_of(asks)}
    assert sizes == {1, 2, 4, 8}


def test_half_of_the_trials_keep_other_variables_at_their_defaults() -> None:
    asks, _ = searched("bootstrap", context(trials=22))
    kept = sum(ask.candidate.values["temperature"] == 0.5 for ask in asks[2:])
    assert kept == 10


def test_several_demos_variables_are_searched_together() -> None:
    both: dict[str, Variable[Any]] = {"a": Demos(max=4), "b": Demos(max=2, select=["fixed"]), "c": Choice(["x", "y"])}
    asks, _ = searched("bootstrap", context(both, trials=30))
    assert {ask.candidate.values["b"]["select"] for ask in asks} == {"fixed"}
    assert {"fixed", "nearest"} == {ask.candidate.values["a"]["select"] for ask in asks}


@pytest.mark.parametrize("trials", [1, 2])
def test_too_few_trials_skip_the_bootstrap_and_use_them_on_validation(trials: int) -> None:
    asks, _ = searched("bootstrap", context(trials=trials))
    assert [ask.split for ask in asks] == ["validation"] * trials


def test_bootstrap_without_train_rows_searches_the_other_variables() -> None:
    here = SearchContext(Space({"demos": Demos(), "n": Int(1, 4)}), 0, 20, (), None, 0, 5)
    asks, _ = searched("bootstrap", here)
    assert {ask.candidate.values["n"] for ask in asks} == {1, 2, 3, 4}
    assert len(asks) == 4


def test_optimizers_are_found_by_the_name_they_carry() -> None:
    assert {name: made(seed=0, max_trials=1).name for name, made in OPTIMIZERS.items()} == {n: n for n in OPTIMIZERS}
    assert isinstance(make_optimizer("random", seed=0, max_trials=1), RandomSearch)
