"""The gap between train and validation rows is known of every result: a last look at the best, journalled and paid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dspex_agents import CountingIds
from dspex_coordination import Demos
from dspex_coordination.candidate import Candidate
from dspex_coordination.optimizers.base import SearchContext, Told
from dspex_coordination.space import Space
from dspex_coordination.sweep import SweepStore
from dspex_coordination.sweep.closing import closing_ask
from dspex_ray import Program, optimize
from dspex_ray.budgets.budget import Budget
from dspex_ray.optimized import Optimized
from dspex_ray.store import Store

Shop = tuple[type[Program], str]


def run(shop: Shop, store: Store, lm: Any = "embedded/nearest", **options: Any) -> Optimized:
    defaults: dict[str, Any] = {"optimizer": "random", "trials": 3, "runtime": "in-process", "workers": 1}
    return optimize(shop[0]().with_lm(lm), shop[1], store=store, **{**defaults, **options})


def test_the_best_is_looked_at_on_train_rows_it_does_not_show_and_that_is_no_trial(shop: Shop, store: Store) -> None:
    found = run(shop, store)
    kept = SweepStore(store.database)
    *trials, closing = kept.trials(found.run_id)
    assert (len(trials), kept.load(found.run_id).trials, len(found.history)) == (3, 3, 3)
    assert found.gap is not None
    train = found.version.facts["train"]
    assert (closing.split, train["rows"]) == ("train", len(closing.rows or ()))
    assert 20 <= train["rows"] <= 60
    assert found.gap == train["score"] - found.score
    assert not [one for one in found.warnings if "not known" in one]


def test_a_finished_run_is_not_looked_at_again_and_one_with_more_trials_goes_on_as_if_it_had_begun_with_them(
    shop: Shop, make_store: Callable[[], Store]
) -> None:
    store = make_store()
    found = run(shop, store)
    calls = store.totals(run_id=found.run_id).calls
    again = run(shop, store, resume=found.run_id)
    assert (again.gap, store.totals(run_id=found.run_id).calls) == (found.gap, calls)
    longer, whole = run(shop, store, resume=found.run_id, trials=6), run(shop, make_store(), trials=6)
    assert [one.candidate for one in longer.history] == [one.candidate for one in whole.history]
    assert (longer.score, longer.version.hash) == (whole.score, whole.version.hash)
    assert run(shop, store, resume=found.run_id, trials=6).gap == longer.gap


def context(rows: int) -> SearchContext:
    ids = tuple(f"e{row}" for row in range(rows))
    return SearchContext(Space({"demos": Demos(max=4)}), 3, 10, ids, None, rows, 10)


def told(*shown: str) -> Told:
    candidate = Candidate(
        {"demos": {"select": "given", "demos": [{"input": {}, "output": {}, "of": s} for s in shown]}}
    )
    return Told(1, candidate, "validation", (0,), (1.0,), (None,), 0.0, None)


def test_the_look_is_a_bounded_sample_that_leaves_out_what_is_shown_or_known() -> None:
    asked = closing_ask(told("e3", "e7"), context(25), {0, 1}, 50, 60)
    assert asked is not None
    assert asked.split == "train"
    assert len(asked.rows or ()) == 18
    assert not {0, 1, 3, 7} & set(asked.rows or ())
    assert closing_ask(told("e3"), context(25), {0, 1}, 50, 60) != asked
    assert closing_ask(told("e3", "e7"), context(25), {0, 1}, 50, 60) == asked
    many = closing_ask(told(), context(500), set(), 10_000, 60)
    assert many is not None
    assert len(many.rows or ()) == 60


def test_nothing_is_asked_where_enough_is_known_or_every_row_is_shown() -> None:
    assert closing_ask(told(), context(30), set(range(20)), 0, 60) is None
    assert closing_ask(told("e0", "e1"), context(2), set(), 0, 60) is None


def test_a_hard_budget_without_room_for_the_look_leaves_the_gap_unknown_and_says_why(
    shop: Shop, make_store: Callable[[], Store], held: Any
) -> None:
    whole = run(shop, make_store(), held(), ids=CountingIds())
    searched = sum(len(trial.scores) for trial in whole.history)
    store = make_store()
    store.set_budget(Budget(scope="run", name=whole.run_id, calls=searched + 6), now=0.0)
    found = run(shop, store, held(), ids=CountingIds())
    assert (found.gap, found.score, found.version.hash) == (None, whole.score, whole.version.hash)
    (said,) = [one for one in found.warnings if "gap" in one]
    assert "budget" in said.lower()
    assert store.totals(run_id=found.run_id).calls <= searched + 6
