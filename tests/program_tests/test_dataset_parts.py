"""Splits into named parts, repeated inputs, and rows that leak from one part into another."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_ray.data import Dataset, duplicates, leakage
from dspex_ray.errors import DataError
from dspex_ray.example import Example


def _data(*rows: tuple[str, str | None], groups: tuple[str, ...] | None = None) -> Dataset:
    examples = [
        Example(f"{i:012x}", {"message": text}, {"intent": label}, label) for i, (text, label) in enumerate(rows)
    ]
    return Dataset(tuple(examples), "rows", groups)


def _balanced(count: int, labels: int) -> Dataset:
    return _data(*[(f"text {i}", f"label {i % labels}") for i in range(count)])


def test_parts_have_the_shares_asked_for_and_the_labels_as_they_occur() -> None:
    parts = _balanced(100, 4).splits({"train": 0.6, "dev": 0.2, "test": 0.2}, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"train": 60, "dev": 20, "test": 20}
    for part in parts.values():
        assert len(set(Counter(e.label for e in part.examples).values())) == 1


def test_parts_may_be_counts_and_leave_rows_over() -> None:
    parts = _balanced(100, 4).splits({"train": 31, "test": 7}, seed=1)
    assert [len(part) for part in parts.values()] == [31, 7]


def test_without_strata_the_rows_are_drawn_alone() -> None:
    parts = _balanced(100, 4).splits({"a": 0.5, "b": 0.5}, seed=1, stratify=False)
    assert [len(part) for part in parts.values()] == [50, 50]


def test_the_same_seed_gives_the_same_parts_and_another_others() -> None:
    data, sizes = _balanced(60, 3), {"a": 0.5, "b": 10}
    assert data.splits(sizes, seed=4) == data.splits(sizes, seed=4)
    assert data.splits(sizes, seed=4) != data.splits(sizes, seed=5)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghijklmnop"), st.sampled_from(["x", "y", None]), st.sampled_from("1234567")),
        min_size=1,
        max_size=50,
    ),
    st.integers(0, 5),
    st.sampled_from([{"a": 0.7, "b": 0.3}, {"a": 0.5, "b": 0.25, "c": 0.25}, {"a": 3, "b": 2}, {"a": 1}]),
)
def test_parts_share_no_row_input_or_group(rows: list[Any], seed: int, sizes: dict[str, float]) -> None:
    data = _data(*[(text, label) for text, label, _ in rows], groups=tuple(group for _, _, group in rows))
    try:
        parts = data.splits(sizes, seed=seed)
    except DataError:
        return  # too few rows, or groups too large
    assert list(parts) == list(sizes)
    taken = [part.examples for part in parts.values()]
    assert all(taken)
    for of in (
        lambda part: {e.id for e in part.examples},
        lambda part: {e.input["message"] for e in part.examples},
        lambda part: set(part.groups or ()),
    ):
        found = [of(part) for part in parts.values()]
        assert sum(map(len, found)) == len(set().union(*found))
    for name, size in sizes.items():
        if isinstance(size, int):
            assert len(parts[name]) <= size


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({}, "at least one part"),
        ({"a": 0.8, "b": 0.3}, "sum to 1.1, more than 1"),
        ({"a": 0}, "a count of rows or a share"),
        ({"a": -0.1}, "a count of rows or a share"),
        ({"a": True}, "a count of rows or a share"),
        ({"a": "x"}, "a count of rows or a share"),
        ({"a": 9, "b": 2}, "holds 10 rows; the parts need 11"),
        ({"a": 0.99, "b": 0.01}, "the part 'b' would be empty"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        _balanced(10, 2).splits(sizes, seed=0)


def test_a_group_too_large_for_a_part_is_told() -> None:
    data = _data(*[(f"t{i}", None) for i in range(10)], groups=tuple("aaaaabbbbb"))
    with pytest.raises(DataError, match="no group of rows fits the part 'test' of 2 rows"):
        data.splits({"train": 0.8, "test": 0.2}, seed=0)
    with pytest.raises(DataError, match="no group fits a validation part of 2 of 10 rows"):
        data.split(0)


def test_as_many_groups_as_rows_are_needed() -> None:
    with pytest.raises(DataError, match="3 rows need as many groups, got 1"):
        _data(*[(f"t{i}", None) for i in range(3)], groups=("a",))


def test_repeated_inputs_are_found_and_contradictions_among_them() -> None:
    data = _data(("a", "x"), ("b", "x"), ("a", "x"), ("c", "x"), ("b", "y"), ("a", "x"))
    found = duplicates(data)
    assert found.repeated == ((0, 2, 5), (1, 4))
    assert found.conflicting == ((1, 4),)
    assert found.rows == 3
    assert str(found) == "3 rows repeat the input of another one; 1 inputs have different outputs"
    assert str(duplicates(_balanced(3, 1))) == "no input occurs twice"


def test_rows_that_leak_from_one_part_to_another_are_found() -> None:
    train, test = _data(("a", "x"), ("b", "x")), _data(("c", "x"), ("b", "y"), ("b", "x"))
    found = leakage(train, test)
    assert found.pairs == ((1, 1), (2, 1))
    assert found.share == pytest.approx(2 / 3)
    assert str(found) == "2 of 3 rows have an input that is in the other part too"


def test_split_parts_leak_nothing() -> None:
    rows = [("same" if i % 3 == 0 else f"t{i}", "x") for i in range(30)]
    train, held = _data(*rows).split(0)
    assert leakage(train, held).pairs == ()
