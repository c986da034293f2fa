"""Conditions between variables: evaluation, text, JSON and errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_coordination.conditions import (
    ABSENT,
    Condition,
    Expression,
    V,
    as_condition,
    as_conditions,
    as_expression,
    count,
    implies,
    largest,
    length,
    lookup,
    smallest,
    total,
    where,
)
from dspex_coordination.errors import SpaceError

VALUES: dict[str, Any] = {
    "model": "gpt",
    "window": 8000,
    "max_tokens": 1000,
    "tools": True,
    "tags": ["a", "b"],
    "x": 0.3,
}

HOLDING = [
    V("model") == "gpt",
    V("model") != "claude",
    V("model").is_in(["gpt", "claude"]),
    ~V("model").is_in(["claude"]),
    V("tags").contains("a"),
    V("max_tokens") <= V("window") - 100,
    V("max_tokens") >= 1000,
    V("max_tokens") * 8 == V("window"),
    V("window") / V("max_tokens") > 7,
    V("window") % 3 == 2,
    (V("tools") & (V("model") == "gpt")) | (V("window") < 0),
    implies({"model": "claude"}, V("window") > 100_000),
    lookup({"gpt": 8000, "claude": 200_000}, V("model")) == V("window"),
    V("tags")[1] == "b",
    length(V("tags")) == 2,
    total(V("max_tokens"), V("max_tokens"), 1) == 2001,
    smallest(V("window"), V("max_tokens")) == 1000,
    largest(V("window"), V("max_tokens")) == 8000,
    count({"model": "gpt"}, {"tools": False}, V("window") > 1) == 2,
    where({"tools": True}, V("window"), 0) == 8000,
    1 - V("x") > 0.6,
    2 * V("x") + V("x") == 0.9,
]


@pytest.mark.parametrize("condition", HOLDING, ids=str)
def test_a_condition_holds_and_its_opposite_does_not(condition: Condition) -> None:
    assert condition.holds(VALUES)
    assert not (~condition).holds(VALUES)
    assert (~~condition).holds(VALUES)


@pytest.mark.parametrize("condition", HOLDING, ids=str)
def test_json_and_pickle_rebuild_a_condition(condition: Condition) -> None:
    again = Expression.from_json(condition.to_json())
    assert isinstance(again, Condition)
    assert again == condition
    assert str(again) == str(condition)
    assert pickle.loads(pickle.dumps(condition)) == condition == copy.deepcopy(condition)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (V("max_tokens") <= V("window") - 100, "max_tokens <= window - 100"),
        (~((V("a") == "x") & (V("b") > 1) | V("c")), "not (a == 'x' and b > 1 or c == True)"),
        ((V("a") == 1) & ((V("b") == 2) | (V("c") == 3)), "a == 1 and (b == 2 or c == 3)"),
        (V("a") - (V("b") - V("c")) == (V("a") + 1) * 2, "a - (b - c) == (a + 1) * 2"),
        (implies({"model": ["a", "b"]}, V("k") < 3), "not model in ['a', 'b'] or k < 3"),
        (total(V("a"), V("b")) <= lookup({"x": 1}, V("c")), "total(a, b) <= {'x': 1}[c]"),
        (Condition("==", (V("a") < 1, V("b") < 2)), "(a < 1) == (b < 2)"),
    ],
)
def test_a_condition_reads_as_a_person_would_write_it(condition: Condition, text: str) -> None:
    assert str(condition) == text


def test_a_mapping_means_equality_or_membership_of_all_its_names() -> None:
    condition = as_condition({"model": ["gpt", "claude"], "tools": True})
    assert condition == V("model").is_in(["gpt", "claude"]) & (V("tools") == True)  # noqa: E712 - makes a condition
    assert condition.names == ("model", "tools")
    assert as_condition(V("tools")).holds(VALUES)
    assert as_conditions(None) == ()
    assert as_conditions([{"a": 1}, {"b": 2}]) == (as_condition({"a": 1}), as_condition({"b": 2}))


def test_true_is_not_one_and_rounding_is_no_difference() -> None:
    assert not (V("x") == 1).holds({"x": True})
    assert not (V("x") == True).holds({"x": 1})  # noqa: E712 - makes a condition
    assert (V("x") == 0.3).holds({"x": 0.1 + 0.2})
    assert (V("x") <= 0.3).holds({"x": 0.1 + 0.2})
    assert not (V("x") > 0.3).holds({"x": 0.1 + 0.2})
    assert (V("x") == 2**53).holds({"x": 2**53})
    assert not (V("x") == 2**53).holds({"x": 2**53 - 1})


def test_what_depends_on_an_inactive_variable_is_neither_true_nor_false() -> None:
    absent = {"a": ABSENT, "b": 1}
    for condition in (V("a") == 1, ~(V("a") == 1), V("a") + V("b") > 0, (V("a") == 1) & (V("b") == 1)):
        assert condition.value(absent) is ABSENT
        assert not condition.holds(absent)
    assert ((V("a") == 1) | (V("b") == 1)).value(absent) is True
    assert ((V("a") == 1) & (V("b") == 2)).value(absent) is False
    assert total(V("a"), V("b")).expression.value(absent) == 1
    assert smallest(V("a")).expression.value(absent) is ABSENT
    assert count(V("a") == 1, V("b") == 1).expression.value(absent) == 1


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (V("model") < 3, r"model < 3 cannot be computed for model='gpt': 'gpt' and 3 cannot be put in order"),
        (V("model") + 1 > 0, r"model \+ 1 > 0 cannot be computed for model='gpt': 'gpt' is no number"),
        (V("tools") + 1 > 0, r"True is no number"),
        (V("window") / (V("max_tokens") - 1000) > 0, r"cannot be computed for window=8000, max_tokens=1000"),
        (lookup({"a": 1}, V("model")) > 0, r"\{'a': 1\} has no entry 'gpt'"),
        (V("tags")[7] == 1, r"has no entry 7"),
        (length(V("window")) > 0, r"8000 has no length"),
        (V("modle") == "gpt", r"modle == 'gpt': no value of modle"),
        (V("model").is_in(V("window").expression), r"'gpt' cannot be looked for in 8000"),
    ],
    ids=str,
)
def test_what_cannot_be_computed_names_expression_and_values(condition: Condition, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        condition.holds(VALUES)


def test_a_number_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(SpaceError, match="is not finite"):
        as_expression(V("x") * 1e308 * 1e308).value(VALUES)


def test_python_words_between_conditions_are_refused() -> None:
    with pytest.raises(SpaceError, match="Combine conditions with & "):
        bool(V("a") == 1)
    with pytest.raises(SpaceError, match="chained comparison"):
        assert 1 <= V("a") <= 3
    with pytest.raises(SpaceError, match="neither true nor false"):
        bool(V("a"))


@pytest.mark.parametrize(
    "data",
    [
        {"op": "==", "args": [1]},
        {"op": "===", "args": [1, 2]},
        {"op": "+", "args": [1, 2]},
        {"op": "==", "args": "ab"},
        {"op": 3, "args": []},
        {},
        {"": 1},
        "model == 'gpt'",
        3,
        None,
        {"model": frozenset()},
    ],
    ids=repr,
)
def test_what_is_no_condition_is_refused(data: Any) -> None:
    with pytest.raises(SpaceError):
        as_condition(data)


def test_an_expression_nested_too_deep_is_refused() -> None:
    data: Any = {"var": "x"}
    for _ in range(60):
        data = {"op": "+", "args": [data, 1]}
    with pytest.raises(SpaceError, match="nested 50 deep"):
        Expression.from_json(data)
    with pytest.raises(SpaceError, match="Unknown operator 'eval'"):
        Expression.from_json({"op": "eval", "args": ["1"]})


values = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.sampled_from(["a", "b"]))


@given(st.lists(values, max_size=3), values)
def test_any_literal_survives_json(items: list[Any], item: Any) -> None:
    for literal in (items, item, {"k": items}):
        assert Expression.from_json(as_expression(literal).to_json()) == as_expression(literal)
    assert V("x").is_in(items).holds({"x": item}) == any((V("x") == one).holds({"x": item}) for one in items)


def test_a_term_is_neither_walked_through_nor_searched_without_end() -> None:
    with pytest.raises(TypeError, match=r"model has no entries before variables have values"):
        list(V("model"))
    with pytest.raises(TypeError, match=r"'a' in model is no condition; write .contains\('a'\)"):
        "a" in V("model")  # noqa: B015 - it raises
    with pytest.raises(TypeError, match="no entries"):
        lookup(V("model"), {"small": 1})  # type: ignore[arg-type] # the wrong way round
