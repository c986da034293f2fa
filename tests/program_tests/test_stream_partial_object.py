"""The JSON object of a reply, read while it grows."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_ray.prompting.loose_json import LooseJSONError, read_object
from dspex_ray.streaming.partial_object import PartialObject

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("'\"\\{}[]:, \n\U0001f600"), max_size=12)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)
AROUND = ["", "```json\n", "Here is {the} answer: ", "It's {so}: {"]


def is_part(part: Any, whole: Any, *, inside: bool = True) -> bool:
    """Whether a value that is still written may become the whole one."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_part(part[name], whole[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(is_part(p, w) for p, w in zip(part, whole, strict=False))
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    return type(part) is type(whole) and bool(part == whole)


def fed(pieces: list[str], reader: PartialObject | None = None) -> list[dict[str, Any]]:
    reader = reader or PartialObject()
    found = []
    for piece in pieces:
        reader.feed(piece)
        found.append(reader.partial())
    return found


def cut(text: str, at: list[int]) -> list[str]:
    places = [0, *sorted({place % (len(text) + 1) for place in at}), len(text)]
    return [text[a:b] for a, b in pairwise(places)]


@given(OBJECTS, st.sampled_from(AROUND), st.sampled_from([True, False]), st.lists(st.integers(0, 10_000), max_size=40))
def test_the_partial_object_grows_into_the_parsed_reply_however_it_is_cut(
    value: dict[str, Any], before: str, escaped: Any, at: list[int]
) -> None:
    text = f"{before}{json.dumps(value, ensure_ascii=escaped)}\n``` That is all {{indeed}}."
    partials = fed(cut(text, at))
    assert partials[-1] == value
    told = [part for part in partials if part]
    assert all(is_part(one, value) for one in told)
    assert all(is_part(one, other) for one, other in pairwise(told))


def rewritten(text: str, changes: list[tuple[str, str]]) -> str:
    for old, new in changes:
        text = text.replace(old, new)
    return text


LOOSE = [
    ('"', "'"),
    ("true", "True"),
    ("null", "None"),
    ("}", ",}"),
    ("]", " , ]"),
    (": ", ":\n"),
    ("a", "\\u0061"),
    ("{", "{ "),
]
REWRITTEN = st.builds(
    lambda value, changes: rewritten(json.dumps(value), changes),
    OBJECTS,
    st.lists(st.sampled_from(LOOSE), unique=True),
)


@given(
    REWRITTEN | st.text(st.sampled_from("{}[]\"'\\,: \nabu0129-.etrfalsn\U0001f600"), max_size=60).map("{".__add__),
    st.data(),
)
def test_the_reader_agrees_with_the_loose_parser_on_any_text(text: str, data: st.DataObject) -> None:
    try:
        expected, _ = read_object(text, 0)
    except LooseJSONError:
        return
    reader = PartialObject()
    fed(cut(text, data.draw(st.lists(st.integers(0, 100), max_size=10))), reader)
    assert reader.partial() == expected
    assert reader.root is not None
    assert reader.root.done


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'name': 'it's here', open: True, n: None,}", {"name": "it's here", "open": True, "n": None}),
        ('{"a": "he said "hi" to her"}', {"a": 'he said "hi" to her'}),
        ('{"a": "\\ud83d\\ude00 \\ud83d"}', {"a": "\U0001f600 \ud83d"}),
        ('{"a": "\\ud83d\\ud83d\\ude00\\n"}', {"a": "\ud83d\U0001f600\n"}),
        ('{thinking {"a": 1}}', {"a": 1}),
        ('{"a": 1, "a": 1}', {"a": 1}),
    ],
)
def test_every_form_that_a_model_writes_is_read_letter_by_letter(text: str, value: dict[str, Any]) -> None:
    assert fed(list(text))[-1] == value


def test_a_number_is_known_only_when_it_cannot_grow_any_more() -> None:
    assert fed(['{"n": 1', "2", "5", ","]) == [{}, {}, {}, {"n": 125}]


def test_half_of_a_surrogate_pair_is_not_shown() -> None:
    assert fed(['{"a": "x\\ud83d', "\\ude", "00"]) == [{"a": "x"}, {"a": "x"}, {"a": "x\U0001f600"}]


def test_an_object_that_is_not_wanted_gives_way_to_the_next_one() -> None:
    reader = PartialObject(wanted=lambda found: "b" in found)
    assert fed(['{"a": 1}', ' then {"b": 2}', ' and {"b": 3}'], reader) == [{"a": 1}, {"b": 2}, {"b": 2}]
    assert reader.restarts == 1


def test_a_brace_that_is_never_closed_gives_way_at_the_end_of_the_reply() -> None:
    reader = PartialObject()
    assert fed(["It's so: {'a ", '{"b": 1}'], reader) == [{}, {}]
    assert reader.finish()
    assert reader.partial() == {"b": 1}
    assert not reader.finish()


def test_a_key_with_two_values_ends_the_reading() -> None:
    reader = PartialObject()
    fed(['{"a": 1, "a": 2}', '{"a": 3}'], reader)
    assert reader.root is not None
    assert not reader.root.done


@settings(max_examples=20)
@given(st.text(st.sampled_from('{["a:'), min_size=200, max_size=2000))
def test_a_hostile_reply_is_read_without_an_error(text: str) -> None:
    fed(list(text))


def seconds_for(characters: int) -> float:
    text = json.dumps({"text": "lorem ipsum, " * (characters // 26), "items": list(range(characters // 14))})
    reader, started = PartialObject(), time.process_time()
    for at in range(0, len(text), 10):
        reader.feed(text[at : at + 10])
    assert reader.root is not None
    assert reader.root.done
    return time.process_time() - started


def test_the_cost_of_reading_grows_with_the_reply_and_not_with_its_square() -> None:
    small, large = (min(seconds_for(size) for _ in range(3)) for size in (25_000, 200_000))
    assert large < 24 * small  # eight times the text; re-reading from the start would take 64 times as long
