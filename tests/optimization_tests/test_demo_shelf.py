"""What one predictor may be shown, and the values made of it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination import Demos, Space
from dspex_ray.example import make_example
from dspex_ray.program_optimizers.bootstrapped import Bootstrapped
from dspex_ray.program_optimizers.demo_shelf import DemoShelf, demo_shelves
from dspex_ray.program_optimizers.sketch import FieldSketch, Predictor, ProgramSketch

ROWS = tuple(make_example({"question": f"{n}?" * (n + 1)}, {"answer": str(n)}) for n in range(6))
IDS = [row.id for row in ROWS]


def shelf_of(
    pool: list[str], made: int = 0, *, type_name: str = "str", most_chars: int = 99, **demos: Any
) -> DemoShelf:
    fields = (FieldSketch("question", type_name, ""),)
    predictor = Predictor("say", "Do.", "say.instruction", "say.demos", 4, fields, fields)
    space = Space({"say.demos": Demos(**{"max": 4, **demos})}).bind(pool)
    (shelf,) = demo_shelves(ProgramSketch("P", "", (predictor,), ROWS), space, most_chars)
    given_ones = [{"input": {}, "output": {"n": n}, "of": ROWS[n].content_id} for n in range(made)]
    shelf.add([Bootstrapped(place, 3, 0, 1.0, one) for one in given_ones for place in ("say", "elsewhere")])
    return shelf


@given(
    made=st.integers(0, 5),
    most=st.integers(0, 5),
    labelled=st.integers(0, 9),
    seed=st.integers(0, 99),
    select=st.sampled_from([("fixed",), ("nearest",), ("fixed", "nearest")]),
    pool=st.sampled_from([IDS, [], ["own-1", "own-2"], IDS[:2]]),
)
def test_every_value_fits_the_variable_and_shows_no_question_twice(
    made: int, most: int, labelled: int, seed: int, select: tuple[str, ...], pool: list[str]
) -> None:
    shelf = shelf_of(pool, made, select=select)
    rng = random.Random(seed)
    values = [shelf.drawn(most, labelled, rng), shelf.first(most), shelf.nearest(labelled), shelf.labels(labelled, rng)]
    for value in (one for one in values if one is not None):
        assert shelf.variable.validate(value) == value
        shown = [demo["of"] for demo in value.get("demos", ())]
        assert len(set(shown)) == len(shown)
        copied = [demo for demo in value.get("demos", ()) if "answer" in demo["output"]]
        assert len(copied) <= labelled
        assert len(shown) - len(copied) <= most


def test_the_first_are_those_that_came_first() -> None:
    value = shelf_of([], made=3).first(2)
    assert value is not None
    assert [demo["output"]["n"] for demo in value["demos"]] == [0, 1]


def test_draws_come_of_both_kinds_and_of_each_alone() -> None:
    shelf, rng = shelf_of(IDS, made=2), random.Random(0)
    drawn = [shelf.drawn(2, 3, rng) or {} for _ in range(200)]
    kinds = {("answer" in demo["output"]) for one in drawn for demo in one.get("demos", ())}
    assert kinds == {True, False}
    assert {one["select"] for one in drawn} == {"given", "fixed", "nearest"}


def test_rows_that_are_too_long_are_in_no_set() -> None:
    shelf = shelf_of(IDS, most_chars=60)
    assert 0 < len(shelf.ids) < len(IDS)
    assert list(shelf.labelled) == list(shelf.ids)


@pytest.mark.parametrize("type_name", ["Secret", "Secret | None"])
def test_rows_with_secrets_are_named_but_never_copied(type_name: str) -> None:
    shelf = shelf_of(IDS, made=1, type_name=type_name)
    assert shelf.labelled == {}
    assert shelf.labels(2, random.Random(0)) == {"select": "fixed", "ids": random.Random(0).sample(IDS, 2)}
    drawn = [shelf.drawn(1, 3, random.Random(seed)) or {} for seed in range(20)]
    assert all("answer" not in demo["output"] for one in drawn for demo in one.get("demos", ()))
