"""What is expected of a search before it runs, and the requests that are refused then."""

from __future__ import annotations

from typing import Any

import pytest

import dspex_ray as dspex
from dspex_ray.estimation import Estimate, Range
from dspex_ray.search_outlook import Limits, Outlook, outlook
from dspex_ray.search_plan import SearchRequest, prepare
from dspex_ray.store import Store

ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(50)]


class Plain(dspex.Program):
    """Say whether it is even."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    temperature = dspex.Float(0.0, 1.0, default=0.1)


class Two(Plain):
    """Say whether it is even."""

    temperature = dspex.Choice([0.0, 1.0])


def estimated(usd: float | None = 0.001) -> Estimate:
    """Return an estimate of 10 trials on 10 rows: a call a row, perhaps another, at `usd` each."""
    calls = Range(10.0, 100.0, 200.0)
    cost = None if usd is None else Range(10 * usd, 100 * usd, 200 * usd)
    return Estimate(
        rows=Range(10.0, 100.0, 100.0),
        calls=calls,
        prompt_tokens=calls,
        completion_tokens=calls,
        cost_usd=cost,
        sampled=0,
        model="simulated/model",
        priced_by="test",
    )


def expected(store: Store, program: dspex.Program | None = None, usd: float | None = 0.001, **options: Any) -> Outlook:
    limits = Limits(**{name: options.pop(name) for name in list(options) if name in Limits.__dataclass_fields__})
    chosen = (program or Plain()).with_lm("embedded/nearest")
    rows = options.pop("rows", ROWS)
    plan = prepare(SearchRequest(program=chosen, data=rows, **options), "run-1", store, is_new=True)
    return outlook(plan.search, estimated(usd), limits, plan.reason)


def test_calls_and_money_range_from_one_round_to_all_trials(store: Store) -> None:
    found = expected(store, trials=20)
    assert (found.trials, found.train_rows, found.validation_rows) == (20, 40, 10)
    # ten rows of two trials or of twenty, and the last look at twenty train rows
    assert found.last_look_rows == 20
    assert found.calls == Range(40.0, 220.0, 440.0)
    assert found.cost_usd is not None
    assert found.cost_usd.high == pytest.approx(0.44)
    assert found.optimizer == "beacon"
    assert found.reason
    assert "last look at 20 train rows: 40 to 440 calls, $0.0400 to $0.4400" in found.lines()[1]


def test_an_optimizer_that_looks_at_train_rows_may_need_no_last_look(store: Store) -> None:
    found = expected(store, optimizer="reflective", trials=20)
    assert (found.calls.low, found.calls.high) == (20.0, 440.0)


def test_a_space_of_two_candidates_takes_two_trials(store: Store) -> None:
    found = expected(store, Two(), trials=20)
    assert (found.optimizer, found.trials) == ("grid", 2)
    assert found.calls.high == 80.0


def test_all_that_ends_it_is_named(store: Store) -> None:
    found = expected(store, usd=None, trials=5, calls=1000, seconds=60, patience=3, hard_usd=2.0)
    assert found.ends == (
        "5 trials",
        "$2 as a hard limit",
        "1,000 model calls",
        "60 s",
        "3 trials without anything better",
    )
    assert found.cost_usd is None


def test_a_budget_below_one_round_is_refused_with_the_least_that_makes_sense(store: Store) -> None:
    told = r"budget of 19 calls and \$0\.01 is too small for one round: at least 20 calls / \$0\.020 make sense"
    with pytest.raises(dspex.UsageError, match=told):
        expected(store, calls=19, hard_usd=0.01)
    assert expected(store, calls=20, hard_usd=0.02).ends[1:] == ("$0.02 as a hard limit", "20 model calls")


@pytest.mark.parametrize("usd", [0.0, None])
def test_a_free_or_unpriced_model_has_no_least_in_money(store: Store, usd: float | None) -> None:
    assert expected(store, usd=usd, hard_usd=0.000001).validation_rows == 10


def test_fewer_rows_than_a_minibatch_are_a_note(store: Store) -> None:
    notes = expected(store, optimizer="reflective", rows=ROWS[:10], trials=3).notes
    assert any("fewer than a minibatch" in one for one in notes)
    assert any("2 validation rows" in one for one in notes)
    assert not any("minibatch" in one for one in expected(store, optimizer="reflective", trials=3).notes)


def test_an_optimizer_that_cannot_tune_this_space_says_what_it_needs(store: Store) -> None:
    with pytest.raises(dspex.UsageError, match="needs a predictor with a Demos variable"):
        expected(store, optimizer="bootstrap_few_shot")
