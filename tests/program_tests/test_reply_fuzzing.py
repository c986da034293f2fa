"""Any reply to any schema: an output of the written values, or an OutputError, in bounded time."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dspex_ray.errors import OutputError
from dspex_ray.prompting.answer_formats.base import AnswerFormat
from dspex_ray.prompting.answer_formats.names import ANSWER_FORMATS
from dspex_ray.schema import Schema, make_schema

FORMATS = list(ANSWER_FORMATS.values())
SLOWEST_S = 2.0  # of CPU, so that a busy machine changes nothing

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_NASTY = st.sampled_from(
    ["null", "None", "true", "4", '"x"', "```", "## end", "## a", "a: 1", "**a:** 2", '{"a": 1}', "[]", " x ", "", "\r",
     "x\n## b\ny", "x\u2028y", "\x85", "{", "'", "NaN", "-0", "1e999", "yes", "~~~\n## a\n~~~", "[[ ## a ## ]]", "# a"]
)  # fmt: skip
_STRINGS = _TEXT | _NASTY
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_OPTIONS = ("yes", "no", "Maybe so")


class Part(Schema):
    name: str
    size: int | None = None


_TYPES: dict[Any, st.SearchStrategy[Any]] = {
    str: _STRINGS,
    int: st.integers(-(2**63), 2**63),
    float: _FLOATS,
    bool: st.booleans(),
    Literal["yes", "no", "Maybe so"]: st.sampled_from(_OPTIONS),
    Literal[1, 2]: st.sampled_from([1, 2]),
    str | None: st.none() | _STRINGS,
    int | str: st.integers(-9, 9) | _STRINGS,
    list[str]: st.lists(_STRINGS, max_size=3),
    list[int | None]: st.lists(st.none() | st.integers(-9, 9), max_size=3),
    dict[str, float]: st.dictionaries(_STRINGS, _FLOATS, max_size=3),
    Part: st.builds(lambda name, size: {"name": name, "size": size}, _STRINGS, st.none() | st.integers()),
    list[Part]: st.lists(st.builds(lambda name: {"name": name, "size": None}, _STRINGS), max_size=2),
}
_NAMES = ("a", "b", "the_answer", "end", "Title", "x1")
_SCHEMAS: dict[Any, type[Schema]] = {}


def schema_of(fields: tuple[tuple[str, Any], ...]) -> type[Schema]:
    """Return one class a description, so that what is cached by class stays small."""
    if fields not in _SCHEMAS:
        _SCHEMAS[fields] = make_schema("Answer", dict(fields))
    return _SCHEMAS[fields]


_FIELDS = st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(list(_TYPES)), min_size=1, max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> tuple[type[Schema], Schema]:
    fields = tuple(sorted(draw(_FIELDS).items()))
    values = {name: draw(_TYPES[kind]) for name, kind in fields}
    schema = schema_of(fields)
    return schema, schema.model_validate(values, strict=True)


def spelt(form: AnswerFormat, output: Schema) -> str:
    return form.answer(type(output), output.model_dump(mode="json"))


def same(made: Schema, meant: Schema) -> bool:
    """Whether two outputs have the same values of the same types: 1 is not true, nor 1.0."""
    return repr(made) == repr(meant)


def read(form: AnswerFormat, text: str, schema: type[Schema]) -> Schema | None:
    """Return the output or None for an OutputError; anything else that is raised fails the test."""
    started = time.thread_time()
    made, raw = None, text
    try:
        made = form.read(text, schema)
    except OutputError as error:
        raw = error.raw
    assert raw == text
    assert time.thread_time() - started < SLOWEST_S
    if made is not None:
        assert isinstance(made, schema)
        again = schema.model_validate(made.model_dump(), strict=True)
        assert same(again, made)
    return made


often = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@often
@given(answers())
def test_an_answer_as_demonstrated_is_read_as_it_was_meant(
    form: AnswerFormat, answer: tuple[type[Schema], Schema]
) -> None:
    schema, meant = answer
    made = read(form, spelt(form, meant), schema)
    assert made is not None
    assert same(made, meant)


_BEFORE = ["", "Sure! Here it is:\n\n", "Let me think {step by step}.\n", "> quote\n\n", "1. first\n2. second\n\n"]
_AFTER = ["", "\n\nHope that helps!", "\n\nLet me know {anything else}.", "\n"]
_WRAPS: list[Callable[[str], str]] = [
    lambda text: text,
    lambda text: f"```json\n{text}\n```",
    lambda text: f"```\n{text}\n```",
    lambda text: f"<answer>\n{text}\n</answer>",
    lambda text: f"**Answer**\n\n{text}",
    lambda text: text.replace("\n", "\r\n"),
    lambda text: f"<think>\n{text[: len(text) // 2]}\n</think>\n{text}",
]


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@often
@given(answers(), st.sampled_from(_BEFORE), st.sampled_from(_AFTER), st.sampled_from(_WRAPS))
def test_a_wrapped_answer_is_read_as_meant_or_not_at_all(
    form: AnswerFormat, answer: tuple[type[Schema], Schema], before: str, after: str, wrap: Callable[[str], str]
) -> None:
    schema, meant = answer
    made = read(form, f"{before}{wrap(spelt(form, meant))}{after}", schema)
    if made is None:
        return
    for name, info in schema.model_fields.items():  # a text may have gained what stood around it
        if form.name == "json" or info.annotation in (int, float, bool, list[int | None], Part):
            assert repr(getattr(made, name)) == repr(getattr(meant, name))


@st.composite
def mangled(draw: st.DrawFn, form: AnswerFormat) -> tuple[type[Schema], str]:
    schema, meant = draw(answers())
    text = spelt(form, meant)
    chance = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(1, 4))):
        at = chance.randint(0, len(text))
        to = min(len(text), at + chance.randint(0, 6))
        match draw(st.sampled_from(["cut", "drop", "double", "put", "swap"])):
            case "cut":
                text = text[:at]
            case "drop":
                text = text[:at] + text[to:]
            case "double":
                text = text[:to] + text[at:]
            case "put":
                text = text[:at] + draw(_STRINGS) + text[at:]
            case "swap":
                text = text[at:] + text[:at]
    return schema, text


@often
@given(st.data(), st.sampled_from(FORMATS))
def test_a_mangled_answer_gives_an_output_of_the_schema_or_an_error(data: st.DataObject, form: AnswerFormat) -> None:
    schema, text = data.draw(mangled(form))
    read(form, text, schema)


_ALPHABET = "{}[]\"':,\\/u0dab1 .-+etrufalsnNxyz\n\r\t`#*_~\ud800\x00\u2028é"


@often
@given(_FIELDS, st.text(st.sampled_from(_ALPHABET), max_size=120) | st.text(max_size=60), st.sampled_from(FORMATS))
def test_any_text_gives_an_output_of_the_schema_or_an_error(
    fields: dict[str, Any], text: str, form: AnswerFormat
) -> None:
    read(form, text, schema_of(tuple(sorted(fields.items()))))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _FLOATS | _STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES) | _STRINGS, inner, max_size=3),
    max_leaves=6,
)


@often
@given(_FIELDS, st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4))
def test_json_of_other_types_is_never_read_as_the_asked_ones(fields: dict[str, Any], written: dict[str, Any]) -> None:
    schema = schema_of(tuple(sorted(fields.items())))
    made = read(ANSWER_FORMATS["json"], json.dumps(written), schema)
    if made is None:
        return
    for name, value in written.items():
        got = made.model_dump()[name]
        if isinstance(value, str) and not isinstance(got, str):
            continue  # a text that spells a number or a truth value exactly; test_reply_parsing holds that
        if isinstance(value, bool) or isinstance(got, bool):
            assert got is value
        elif not isinstance(value, dict | list):
            assert got == value
            assert isinstance(got, str) == isinstance(value, str)


_HOSTILE = [
    "{" * 50_000,
    "[" * 50_000,
    '{"a":' * 20_000,
    '{"a' * 40_000,
    "{'" + " " * 100_000,
    "{'a" + "'" * 50_000,
    '{"a": "' + "\\" * 100_001,
    '{"a": ' + "9" * 100_000 + "}",
    '{"a": ' + "[" * 900 + "]" * 900 + "}",
    '{"a": {"a": ' * 400 + "1" + "}}" * 400,
    '{"a": 1e' + "9" * 4_000 + "}",
    '{"a": 1' + "0" * 299 + "}",
    "{a:1}" * 10_000,
    '{"a": 1} ' * 10_000,
    '{"a": ["b", ] } {a: {b: [1, 2,' * 2_000,
    "```" * 30_000,
    "```json\n" * 10_000 + "{}",
    "## a\n" * 20_000,
    "## " + "a " * 50_000,
    "## a" + " " * 100_000 + ":",
    "**a:**" * 20_000,
    "*" * 100_000,
    "a:" * 50_000,
    "[[ ## a ## ]]" * 10_000,
    "\n" * 100_000,
    "<think>" * 20_000 + "</think>" * 20_000,
    '"' * 100_000,
    "{" + "\ud800" * 10_000,
    '{"a": "\\ud800"}',
    '{"a": "' + "\\u0041" * 20_000,
]


@pytest.mark.parametrize("text", _HOSTILE, ids=lambda text: repr(text[:14]))
@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_hostile_reply_is_read_in_bounded_time(form: AnswerFormat, text: str) -> None:
    for kind in (str, list[int], Any):
        read(form, text, schema_of((("a", kind),)))


@pytest.mark.parametrize("kind", [int, float])
def test_a_whole_number_beyond_any_float_is_no_crash(kind: type) -> None:
    for text in (f'{{"a": {"9" * 400}}}', f"{{'a': {'9' * 300}}}", f"## a\n{'9' * 400}\n## end"):
        for form in FORMATS:
            read(form, text, schema_of((("a", kind),)))
