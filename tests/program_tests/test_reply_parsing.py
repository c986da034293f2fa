from __future__ import annotations

import json
import math
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_ray.errors import OutputError
from dspex_ray.prompting.loose_json import LooseJSONError, read_object
from dspex_ray.prompting.reply import parse_reply
from dspex_ray.schema import Probability, Schema, field


class Label(Schema):
    intent: Literal["cash", "card", "it's late"]
    confidence: Probability = 1.0


class Facts(Schema):
    name: str
    count: int
    share: float = 0.0
    sure: bool = False
    tags: list[str] = field(default_factory=list)
    note: str | None = None


@pytest.mark.parametrize(
    "text",
    [
        '{"intent": "card"}',
        '  \n{"intent":"card","confidence":1.0}\n',
        '```json\n{"intent": "card"}\n```',
        'Here you are:\n```\n{"intent": "card",}\n```\nAnything else?',
        'The answer is {"intent": "card"}, I think.',
        "{'intent': 'card'}",
        '{intent: "card", confidence: 1}',
        'A set {x} first, then {"intent": "card"}.',
        '{"intent": "card"} and once more {"intent": "card"}',
        '[{"intent": "card"}]',
        '{"intent": "card", "confidence": "1.0"}',
        '{"intent": "card", "intent": "card"}',
        '<think>\nPerhaps {"intent": "cash"}?\n</think>\n{"intent": "card"}',
        "\n<think></think> card",
    ],
)
def test_an_object_is_found_however_it_is_wrapped(text: str) -> None:
    assert parse_reply(text, Label) == Label(intent="card")


@pytest.mark.parametrize(
    "text", ["card", "Card.", '"card"', " `card` ", "**card**", "intent: card", "Intent: 'CARD'", "“card”"]
)
def test_a_bare_label_counts_where_one_literal_is_asked(text: str) -> None:
    assert parse_reply(text, Label).intent == "card"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cards",
        "cash or card",
        "<think>card",
        "card</think>",
        "I would say card",
        "null",
        "3",
        "[]",
        "confidence: card",
    ],
)
def test_prose_is_no_label(text: str) -> None:
    with pytest.raises(OutputError, match="no JSON object") as caught:
        parse_reply(text, Label)
    assert caught.value.raw == text


def test_a_bare_label_does_not_count_where_more_fields_are_required() -> None:
    class Two(Schema):
        a: Literal["x"]
        b: int

    with pytest.raises(OutputError):
        parse_reply("x", Two)


def test_an_apostrophe_in_a_single_quoted_string_stays() -> None:
    assert parse_reply("{'intent': 'it's late', 'confidence': 0.5}", Label) == Label(intent="it's late", confidence=0.5)


def test_python_constants_and_line_breaks_in_strings_are_read() -> None:
    text = "{'name': 'a\nb', 'count': 2, 'sure': True, 'note': None, 'tags': ['x', 'y',],}"
    assert parse_reply(text, Facts) == Facts(name="a\nb", count=2, sure=True, tags=["x", "y"])


def test_two_different_answers_are_refused_rather_than_guessed() -> None:
    with pytest.raises(OutputError, match="2 different answers"):
        parse_reply('{"intent": "card"} or {"intent": "cash"}', Label)


def test_one_key_with_two_values_is_refused() -> None:
    with pytest.raises(OutputError, match="'intent' is given twice, with 'card' and 'cash'"):
        parse_reply('{"intent": "card", "intent": "cash"}', Label)


def test_every_problem_of_a_reply_is_in_the_error() -> None:
    with pytest.raises(OutputError) as caught:
        parse_reply('{"name": 3, "count": 2.5, "share": "a", "extra": 1}', Facts)
    assert all(f"{name}: " in str(caught.value) for name in ("name", "count", "share", "extra"))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    with pytest.raises(OutputError):
        parse_reply(f'{{"name": "a", "count": 1, "share": {number}}}', Facts)


@pytest.mark.parametrize("text", ["{" * 20_000, '{"a":' * 20_000, "[" * 20_000, '{"a' * 20_000, "{'" + " " * 20_000])
def test_a_hostile_reply_costs_little_and_ends_in_an_output_error(text: str) -> None:
    with pytest.raises(OutputError):
        parse_reply(text, Label)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("{}[]\"':,\\u0dab1 .-etrufalsn\n`intcardcoe\ud800")), max_size=80))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    for schema in (Label, Facts):
        try:
            made = parse_reply(text, schema)
        except OutputError:
            continue
        assert isinstance(made, schema)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "count", "share", "sure", "tags", "note"]), _JSON))
def test_what_is_accepted_is_what_was_written(written: dict[str, Any]) -> None:
    try:
        made = parse_reply(json.dumps(written), Facts)
    except OutputError:
        return
    for key, value in written.items():
        got = getattr(made, key)
        if isinstance(value, str) and not isinstance(got, str):
            assert not isinstance(got, bool) or value.strip().lower() in {
                "true",
                "false",
                "yes",
                "no",
                "on",
                "off",
                *"tfyn",
            }
            assert isinstance(got, bool) or math.isclose(float(value), got)
        else:
            assert got == value
            assert isinstance(got, bool) == isinstance(value, bool)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), _JSON, max_size=4))
def test_the_kind_reader_reads_all_strict_json_the_same(value: dict[str, Any]) -> None:
    strict = json.dumps(value)
    assert read_object(f"x {strict} y", 2) == (value, 2 + len(strict))
    kind = f"{strict[:-1]},}}" if value else "{ }"  # a trailing comma: strict JSON fails at the very end
    assert read_object(f"x {kind} y", 2) == (value, 2 + len(kind))


@pytest.mark.parametrize(
    "text", ["{'a' 1}", "{'a': }", "{'a': 1", "{'a': 'b}", "{1: 2}", "{'a': '\\q'}", "{'a': '\\u12'}", "{'a': 01}"]
)
def test_what_cannot_be_read_kindly_is_an_error(text: str) -> None:
    with pytest.raises(LooseJSONError):
        read_object(text, 0)
