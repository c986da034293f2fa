"""The gate before a label: held-out rows, leaks, force, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.data import load_data
from dspex_ray.demo.program import DATA, ShopRoute
from dspex_ray.demos import DemoPool
from dspex_ray.errors import UnknownNameError, UsageError
from dspex_ray.store import Store, open_store
from dspex_ray.versions.gate import Gate
from dspex_ray.versions.origin import input_id
from dspex_ray.versions.promotion import HeldOut, Promotion, promote

ROWS = load_data(str(DATA), ShopRoute).examples
TRAIN, HELD = ROWS[:200], [{**one.input, **one.output} for one in ROWS[200:260]]
PATH = ShopRoute().path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    program = ShopRoute().with_lm("embedded/nearest").with_demo_pool(DemoPool(TRAIN))
    for value in ({"select": "nearest", "k": 5}, {"select": "fixed", "ids": [TRAIN[0].id]}):
        opened.save_version(program.with_values({"demos": value}).state(), {"score": 0.99}, now=1.0)
    yield opened
    opened.database.close()


def promoted(store: Store, which: int, data: Any = HELD, **options: Any) -> Promotion:
    held_out = None if data is None else HeldOut(data=data)
    return promote(store, PATH, which, label="production", held_out=held_out, by="ann", now=5.0, **options)


def test_a_worse_version_is_refused_and_a_forced_one_is_recorded_as_such(store: Store) -> None:
    first = promoted(store, 1)
    assert first.move is not None
    assert first.held_out is not None
    assert first.comparison is None
    assert first.gap == pytest.approx(0.99 - first.held_out.mean)
    refused = promoted(store, 2)
    assert refused.move is None
    assert "surely worse than the version in place" in refused.refusals[0]
    assert store.labels(PATH) == {"production": 1}
    forced = promoted(store, 2, force=True, why="a test")
    assert forced.move is not None
    assert (forced.move.facts["forced"], forced.move.facts["refusals"]) == (True, list(refused.refusals))
    better = promoted(store, 1)
    assert better.move is not None
    assert better.comparison is not None
    assert better.comparison.low > 0
    assert better.move.facts["forced"] is False
    assert promoted(store, 1).refusals == ()
    assert len(store.label_moves(PATH)) == 3


def test_held_out_rows_that_the_version_shows_or_learnt_from_are_refused_before_any_call(store: Store) -> None:
    shown = {**TRAIN[0].input, **TRAIN[0].output}
    found = promoted(store, 2, [*HELD[:9], shown])
    assert (found.move, found.held_out) == (None, None)
    assert found.refusals == ("1 held-out rows are in the demonstrations of the version: rows 10",)
    assert store.totals().calls == 0
    learnt = load_data(HELD[:3], ShopRoute)
    splits = {"train": {"fingerprint": learnt.fingerprint}}
    store.keep_data_rows(learnt.fingerprint, "rows.csv", [input_id(one) for one in learnt.examples])
    store.save_version(ShopRoute().state(), {"splits": splits}, now=1.0)
    assert "3 held-out rows are in the train rows of the version: rows 1, 2, 3" in promoted(store, 3).refusals


def test_held_out_text_copied_into_an_instruction_is_a_leak(store: Store) -> None:
    text = next(one["message"] for one in HELD if len(one["message"]) > 20)
    told = {**ShopRoute().state(), "instructions": {"": f"Route. For  {text.upper()} say so."}}
    store.save_version(told, {}, now=1.0)
    assert any("in the instructions" in reason for reason in promoted(store, 3).refusals)


def test_without_held_out_rows_a_version_is_promoted_by_force_alone(store: Store) -> None:
    assert promoted(store, 1, None).refusals == ("no held-out rows to show itself on",)
    forced = promoted(store, 1, None, force=True).move
    assert forced is not None
    assert forced.facts["forced"] is True


def test_a_gain_and_a_drop_are_asked_for_in_shares(store: Store) -> None:
    promoted(store, 2)
    assert "gains less than 99.0 points" in promoted(store, 1, gate=Gate(min_gain=0.99)).refusals[0]
    promoted(store, 1)
    assert "may lose more than 1.0 points" in promoted(store, 2, gate=Gate(max_drop=0.01)).refusals[1]
    for wrong in ({"min_gain": -0.1}, {"max_drop": float("nan")}):
        with pytest.raises(UsageError, match="must be a number of at least 0"):
            Gate(**wrong)


def test_a_version_or_program_that_is_not_there_is_refused_by_name(store: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"version of .* '9'"):
        promoted(store, 9)
    with pytest.raises(UnknownNameError, match="program with versions 'x:Y'"):
        promote(store, "x:Y", 1, label="production", held_out=None, by="ann", now=1.0)
