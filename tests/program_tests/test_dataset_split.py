from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_ray.data import Dataset
from dspex_ray.errors import DataError
from dspex_ray.example import Example


def _data(*rows: tuple[str, str | None]) -> Dataset:
    examples = [
        Example(f"{i:012x}", {"message": text}, {"intent": label}, label) for i, (text, label) in enumerate(rows)
    ]
    return Dataset(tuple(examples), "rows")


def _balanced(count: int, labels: int) -> Dataset:
    return _data(*[(f"text {i}", f"label {i % labels}") for i in range(count)])


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    data = _balanced(100, 4)
    assert data.split(1) == data.split(1)
    assert data.split(1)[1].examples != data.split(2)[1].examples


def test_the_share_and_the_labels_are_kept() -> None:
    train, validation = _balanced(100, 4).split(0)
    assert (len(train), len(validation)) == (80, 20)
    assert set(Counter(e.label for e in validation.examples).values()) == {5}


def test_the_validation_side_is_bounded() -> None:
    assert len(_balanced(100, 4).split(0, max_validation=7)[1]) == 7


def test_labels_that_occur_once_stay_in_training_where_possible() -> None:
    data = _data(*[(f"text {i}", "common") for i in range(40)], *[(f"rare {i}", f"rare {i}") for i in range(10)])
    _, validation = data.split(0)
    assert {e.label for e in validation.examples} == {"common"}
    assert len(validation) == 10


def test_labels_that_all_occur_once_are_split_all_the_same() -> None:
    train, validation = _balanced(10, 10).split(0)
    assert (len(train), len(validation)) == (8, 2)


def test_examples_without_labels_are_split() -> None:
    train, validation = _data(*[(f"text {i}", None) for i in range(10)]).split(0)
    assert (len(train), len(validation)) == (8, 2)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from(["x", "y", None])), min_size=1, max_size=40),
    st.integers(0, 5),
    st.floats(0.05, 0.95),
)
def test_both_sides_are_disjoint_complete_and_share_no_input(
    rows: list[tuple[str, str | None]], seed: int, share: float
) -> None:
    data = _data(*rows)
    if len({text for text, _ in rows}) < 2:
        with pytest.raises(DataError, match="a split needs at least 2"):
            data.split(seed, share)
        return
    train, validation = data.split(seed, share)
    assert sorted(e.id for e in (*train.examples, *validation.examples)) == [e.id for e in data.examples]
    assert not {e.input["message"] for e in train.examples} & {e.input["message"] for e in validation.examples}


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        _balanced(10, 2).split(0, share)


def test_the_fingerprint_follows_rows_and_order() -> None:
    first = _balanced(4, 2)
    assert first.fingerprint == Dataset(first.examples, "elsewhere").fingerprint
    assert first.fingerprint != Dataset(first.examples[::-1], "rows").fingerprint
    assert len(first.fingerprint) == 64
