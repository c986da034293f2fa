"""Text, numbers, meaning and several metrics as one."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import ConfigurationError, UnknownNameError
from dspex_ray.example import Example, make_example
from dspex_ray.metrics import (
    MetricError,
    Scored,
    contains,
    exact,
    f1,
    numeric,
    resolve_metric,
    score,
    scored,
    semantic,
    weighted,
)
from dspex_ray.metrics.f1 import token_f1
from dspex_ray.metrics.number_text import number_of


def _example(**output: Any) -> Example:
    return make_example({"message": "x"}, output)


def _scored(metric: Any, example: Example, output: Any) -> Scored:
    return asyncio.run(scored(metric, example, output, 4))


@pytest.mark.parametrize(
    ("expected", "got", "value"),
    [
        ("The cat sat.", "a cat sat", 1.0),
        ("Denver Broncos", "the Broncos of Denver", 0.8),
        ("the", "", 1.0),
        ("yes", "", 0.0),
        ("one two", "three four", 0.0),
        ("a a b b", "b b", 1.0),
        ("b b c", "b", 0.5),
    ],
)
def test_f1_is_squads(expected: str, got: str, value: float) -> None:
    assert token_f1(expected, got) == pytest.approx(value)


@given(st.text(), st.text())
def test_f1_is_a_share_that_does_not_care_which_side_is_which(one: str, two: str) -> None:
    assert 0 <= token_f1(one, two) <= 1
    assert token_f1(one, two) == token_f1(two, one)
    assert token_f1(one, one) == 1


def test_the_best_of_several_expected_answers_counts() -> None:
    assert f1(_example(answer=["Paris", "City of Light"]), {"answer": "city of light"}) == 1.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.5", 1234.5),
        ("$18", 18),
        ("-$1,000,000", -1_000_000),
        ("$-3.50", -3.5),
        ("\u22124", -4),
        ("50 %", 50),
        ("so she makes 12 eggs: 3\n#### 1,200", 1200),
        ("1e3", 1000),
        ("it is 18.", 18),
        ("1.234,5", None),
        ("1,23", None),
        ("1,234th", None),
        ("gpt-4o", None),
        ("2 or 3", None),
        ("", None),
        ("1e999", None),
        (True, None),
        (10**400, None),
        (float("nan"), None),
    ],
)
def test_a_number_is_read_as_people_write_it_and_never_guessed(text: object, number: float | None) -> None:
    assert number_of(text) == number


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=2))
def test_every_amount_with_thousands_separators_is_read_back(amount: Any) -> None:
    assert number_of(f"{amount:,}") == float(amount)
    assert number_of(f"The answer is ${amount:,}.", last=True) == float(amount)


@given(st.text(alphabet="0123456789.,-+$eE# \u2212", max_size=30))
def test_no_text_breaks_the_reading_of_numbers(text: str) -> None:
    found = number_of(text, last=True)
    assert found is None or np.isfinite(found)


def test_numeric_reads_numbers_in_text_and_takes_the_models_last() -> None:
    assert numeric()(_example(answer="6 + 12 = 18\n#### 18"), {"answer": "First 6, then 12, so $18.00."}) == 1.0
    assert numeric()(_example(answer="18"), {"answer": "18 or rather 19"}) == 0.0
    assert numeric()(_example(answer="18"), {"answer": "no idea"}) == 0.0
    with pytest.raises(MetricError, match="the data's 'answer' is '6 or 7', not a number"):
        numeric()(_example(answer="6 or 7"), {"answer": "6"})


def test_numeric_has_an_absolute_and_a_relative_tolerance() -> None:
    assert numeric(relative=0.1)(_example(n=100), {"n": 109}) == 1.0
    assert numeric(relative=0.1)(_example(n=100), {"n": 111}) == 0.0
    assert numeric(1, 0.001)(_example(n=10), {"n": 11}) == 1.0
    with pytest.raises(ConfigurationError, match="relative must be a number of at least 0, got nan"):
        numeric(relative=float("nan"))


def test_a_metric_is_held_to_one_field_or_weighs_several() -> None:
    example, output = _example(a="x", b="y"), {"a": "x", "b": "z"}
    assert exact(example, output) == 0.0
    assert exact.on("a")(example, output) == 1.0
    assert exact.on({"a": 3, "b": 1})(example, output) == 0.75
    assert contains.on(["b"])(example, output) == 0.0
    assert f1.on({"a": 1, "b": 3})(example, output) == 0.25
    assert numeric(on="n")(_example(n=1, text="x"), {"n": 1}) == 1.0
    with pytest.raises(MetricError, match="the metric needs"):
        exact.on("c")(example, output)


@pytest.mark.parametrize("on", [[], {"a": 0}, {"a": -1}, {"a": "x"}, ["a", "a"], [3], 7.5])
def test_fields_that_are_none_are_refused(on: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError)):
        exact.on(on)


def test_a_wrong_row_is_told_what_was_expected() -> None:
    told = _scored(exact, _example(a="x", b=1), {"a": "y"}).feedback
    assert told == "a: expected 'x', got 'y'; b: expected 1, got nothing"
    assert _scored(exact, _example(a="x"), {"a": "x"}) == Scored(1.0)


def test_semantic_is_offline_and_puts_near_texts_before_far_ones() -> None:
    example = _example(answer="the card has not arrived yet")
    same, near, far = (
        _scored(semantic(), example, {"answer": text}).score
        for text in ("the card has not arrived yet", "my card hasn't arrived", "exchange rates of euros")
    )
    assert same == 1.0
    assert 1 > near > far >= 0
    assert _scored(semantic(threshold=near), example, {"answer": "my card hasn't arrived"}).score == 1.0
    assert _scored(semantic(threshold=near + 0.01), example, {"answer": "my card hasn't arrived"}).score == 0.0


def test_semantic_takes_an_embedding_plain_or_awaited() -> None:
    vectors = {"a": [1.0, 0.0], "b": [1.0, 1.0], "c": [-1.0, 0.0]}

    def plain(texts: list[str]) -> list[list[float]]:
        return [vectors[text] for text in texts]

    async def awaited(texts: list[str]) -> Any:
        return np.array(plain(texts))

    for embedding in (plain, awaited):
        metric = semantic(embedding)
        assert _scored(metric, _example(x="a"), {"x": "b"}).score == pytest.approx(0.5**0.5)
        assert _scored(metric, _example(x="a"), {"x": "c"}).score == 0.0
        both = _scored(metric.on({"x": 3, "y": 1}), _example(x="a", y="a"), {"x": "a", "y": "c"})
        assert both.score == 0.75
        assert both.measures == {"similarity": 0.75}


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([[1.0]], "1 vectors for 2 texts"),
        ([[1.0], [1.0, 2.0]], "vectors of 1 and 2"),
        ([[1.0], [float("nan")]], "finite"),
    ],
)
def test_vectors_that_cannot_be_compared_are_no_score(vectors: Any, said: str) -> None:
    with pytest.raises(MetricError, match=said):
        _scored(semantic(lambda _texts: vectors), _example(x="a"), {"x": "b"})


def test_several_metrics_are_one_with_joined_feedback_and_measures() -> None:
    def words(example: Example, output: Any) -> Scored:
        return Scored(0.5, "too long", {"words": 12})

    metric = weighted((exact.on("a"), 3), (words, 1))
    both = _scored(metric, _example(a="x"), {"a": "y"})
    assert both == Scored(0.125, "a: expected 'x', got 'y'\ntoo long", {"words": 12.0})
    with pytest.raises(ConfigurationError, match="at least one"):
        weighted()
    with pytest.raises(ConfigurationError, match="weights above 0"):
        weighted((exact, 0))


def test_a_broken_part_of_several_metrics_names_the_row() -> None:
    with pytest.raises(MetricError, match="row 4"):
        _scored(weighted((lambda *_: float("nan"), 1)), _example(a=1), {"a": 1})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, Scored(1.0)),
        (0.5, Scored(0.5)),
        (np.float32(0.5), Scored(0.5)),
        (np.bool_(False), Scored(0.0)),
        ((1, "good"), Scored(1.0, "good")),
        ((0.25, None), Scored(0.25)),
        (Scored(0.5, "so", {"n": np.int64(3)}), Scored(0.5, "so", {"n": 3.0})),
    ],
)
def test_a_metric_may_answer_a_number_a_bool_a_pair_or_scored(value: Any, expected: Scored) -> None:
    assert _scored(lambda *_: value, _example(a=1), {}) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((1, 2), "gave the feedback 2"),
        ((1, "a", "b"), "must give a number from 0 to 1"),
        ((None, "a"), "must give a number from 0 to 1"),
        (Scored(2.0), "gave 2.0"),
        (Scored(1.0, measures={"n": float("inf")}), "gave inf as 'n'"),
        (Scored(1.0, measures={"cost_usd": 1.0}), "a measure named 'cost_usd'"),
        (Scored(1.0, measures={"": 1.0}), "a measure named ''"),
        (Scored(1.0, measures=[1]), "the measures"),  # type: ignore[arg-type]
    ],
)
def test_any_other_answer_names_the_metric_and_the_row(value: Any, said: str) -> None:
    def odd(example: Example, output: Any) -> Any:
        return value

    with pytest.raises(MetricError, match=said) as caught:
        _scored(odd, _example(a=1), {})
    assert "Metric odd" in str(caught.value)
    assert "row 4" in str(caught.value)


def test_a_name_may_carry_options() -> None:
    assert resolve_metric("numeric(tolerance=0.5)") == numeric(0.5)
    assert resolve_metric("numeric(0.5, on='n')") == numeric(0.5, on="n")
    assert resolve_metric(" f1(on={'a': 2, 'b': 1}) ") == f1.on({"a": 2, "b": 1})
    assert resolve_metric("semantic(threshold=0.8)") == semantic(threshold=0.8)
    assert resolve_metric("judge(lm='openai/gpt-4o', scale=(0, 10))").scale == (0, 10)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("numeric(tolerence=1)", ConfigurationError, "unexpected keyword argument 'tolerence'"),
        ("numeric(tolerance=open('x'))", ConfigurationError, "plain values"),
        ("numeric(tolerance=", UnknownNameError, "Known: "),
        ("numeric(tolerance=1 2)", ConfigurationError, "plain values"),
        ("nmeric(1)", UnknownNameError, "Did you mean 'numeric'"),
        ("exact()", ConfigurationError, "missing a required argument: 'on'"),
        ("nosuchmodule:close", ConfigurationError, "'nosuchmodule' fails to import"),
        ("", UnknownNameError, "Known: "),
    ],
)
def test_a_name_that_is_none_says_what_would_be_right(name: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        resolve_metric(name)


def test_a_function_of_a_module_is_named_with_or_without_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_metrics_here.py").write_text(
        "def half(example, output):\n    return 0.5\n\n"
        "def just(value=0.1):\n    return lambda example, output: value\n\nnumber = 3\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def given(name: str) -> float:
        return asyncio.run(score(resolve_metric(name), _example(a=1), {}, 0))

    assert given("own_metrics_here:half") == 0.5
    assert given("own_metrics_here:just(value=0.25)") == 0.25
    with pytest.raises(UnknownNameError, match="Did you mean 'half'"):
        resolve_metric("own_metrics_here:haf")
    with pytest.raises(ConfigurationError, match="is 3, not a function"):
        resolve_metric("own_metrics_here:number")


@pytest.mark.parametrize(
    "metric", [exact, contains, f1.on({"a": 2}), numeric(0.1), semantic(threshold=0.5), weighted((exact, 1))]
)
def test_metrics_travel_to_other_processes(metric: Any) -> None:
    assert pickle.loads(pickle.dumps(metric)) == metric
