"""What a version says of its making: parent, splits, interface, the gap, and what to expect on new rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import dspex_ray as dspex
from dspex_coordination.candidate import Candidate
from dspex_coordination.sweep import TrialSummary
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.optimization import optimize
from dspex_ray.store import Store, open_store
from dspex_ray.versions.expected import expected_score
from dspex_ray.versions.origin import input_id, train_figures


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.database.close()


def test_a_version_names_the_one_its_search_began_from_and_the_rows_it_was_made_of(store: Store) -> None:
    first = optimize(ShopRoute(), str(DATA), trials=3, store=store, runtime="in-process", workers=1)
    assert first.version.parent is None
    again = optimize(first.program, str(DATA), trials=2, seed=1, store=store, runtime="in-process", workers=1)
    assert again.version.parent == first.version.number
    facts = again.version.facts
    assert facts["interface"]["input"] == {"message": "str"}
    assert facts["calls"] == store.totals(run_id=again.run_id).calls
    assert "table of" in facts["prices"]
    rows = dspex.load_data(str(DATA), ShopRoute)
    inputs = [store.data_rows(facts["splits"][name]["fingerprint"]) or frozenset() for name in ("train", "validation")]
    assert not inputs[0] & inputs[1]
    assert inputs[0] | inputs[1] == {input_id(example) for example in rows.examples}


def test_the_gap_is_between_the_train_rows_the_best_was_scored_on_and_validation() -> None:
    one, other = Candidate({"t": 1}), Candidate({"t": 2})
    best = TrialSummary(3, one, "validation", 0.5, (1.0, 0.0), (0, 1), 0.0, None)
    trials = [
        TrialSummary(0, one, "train", 1.0, (1.0, 1.0), (4, 7), 0.0, None),
        TrialSummary(1, one, "train", 0.5, (0.0,), (7,), 0.0, None),
        TrialSummary(2, other, "train", 0.0, (0.0,), (9,), 0.0, None),
        best,
    ]
    found = train_figures(best, trials)
    assert (found["train"]["score"], found["train"]["rows"], found["gap"]) == (0.5, 2, 0.0)
    assert train_figures(best, trials[2:]) == {"train": None, "gap": None}


def test_the_best_of_many_equal_candidates_is_expected_to_do_no_better_than_they_do() -> None:
    draw = random.Random(5)
    scores = [[float(draw.random() < 0.5) for _ in range(60)] for _ in range(40)]
    best = max(sum(one) for one in scores) / 60
    found = expected_score(scores)
    assert found is not None
    assert best > 0.6
    assert abs(found[0] - 0.5) < 0.06
    assert found[1] <= found[0] <= found[2]
    assert expected_score([[1.0]]) is None


def test_rows_to_choose_by_that_are_those_to_learn_from_are_refused(store: Store) -> None:
    rows = [{**one.input, **one.output} for one in dspex.load_data(str(DATA), ShopRoute).examples[:20]]
    with pytest.raises(dspex.UsageError, match="20 of 20 rows have an input"):
        optimize(ShopRoute(), rows, validation=rows[::-1], trials=2, store=store, runtime="in-process", workers=1)
