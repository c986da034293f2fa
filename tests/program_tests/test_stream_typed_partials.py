"""What of an output may be shown while its reply is still being written."""

from __future__ import annotations

import json
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field

from dspex_ray.prompting.answer_formats.names import ANSWER_FORMATS
from dspex_ray.prompting.reply import parse_reply
from dspex_ray.schema import Embedding, Schema, field, transform
from dspex_ray.streaming.partial_object import PartialObject
from dspex_ray.streaming.partial_sections import PartialSections
from dspex_ray.streaming.shapes import SchemaShape, as_mappings


class Line(Schema):
    name: str
    count: int = field(ge=1)


class Order(Schema):
    """An output with a field of every kind."""

    why: str
    state: Literal["open", "closed"]
    total: float
    paid: bool
    note: str | None = None
    due: date | None = None
    tags: list[str] = Field(default_factory=list)
    first: Line
    lines: list[Line] = Field(default_factory=list)
    vector: Embedding | None = None


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]) | st.sampled_from("#\"'\\ \n*:`"), max_size=20)
LINES = st.builds(lambda name, count: {"name": name, "count": count}, TEXTS, st.integers(1, 99))
ORDERS = st.fixed_dictionaries(
    {
        "why": TEXTS,
        "state": st.sampled_from(["open", "closed"]),
        "total": st.floats(allow_nan=False, allow_infinity=False),
        "paid": st.sampled_from([True, False]),
        "first": LINES,
    },
    optional={
        "note": st.none() | TEXTS,
        "due": st.dates().map(str),
        "tags": st.lists(TEXTS, max_size=3),
        "lines": st.lists(LINES, max_size=3),
        "vector": st.lists(st.floats(-1, 1), min_size=1, max_size=3),
    },
)
CUTS = st.lists(st.integers(0, 2000), max_size=60)


def partials(reader: Any, schema: type[Schema], text: str, cuts: list[int]) -> list[Any]:
    """Return what is known after each piece, and at the end of the reply."""
    shape, found = SchemaShape(schema, schema), []
    places = [0, *sorted({place % (len(text) + 1) for place in cuts}), len(text)]
    for a, b in pairwise(places):
        reader.feed(text[a:b])
        found.append(shape.known(reader.root) if reader.root else {})
    reader.finish()
    return [*found, shape.known(reader.root) if reader.root else {}]


def letters(schema: type[Schema], text: str) -> list[Any]:
    """Return what is known after each letter of a reply that may go on."""
    return partials(PartialObject(), schema, text, list(range(len(text))))[:-1]


def stays(part: Any, later: Any) -> bool:
    if isinstance(part, dict) and isinstance(later, dict):
        return all(name in later and stays(part[name], later[name]) for name in part)
    if isinstance(part, list) and isinstance(later, list):
        return len(part) <= len(later) and all(stays(p, w) for p, w in zip(part, later, strict=False))
    if isinstance(part, str) and isinstance(later, str):
        return later.startswith(part)
    return type(part) is type(later) and bool(part == later)


@given(ORDERS, CUTS)
def test_partials_of_a_json_reply_only_grow_until_they_are_the_output(values: dict[str, Any], cuts: list[int]) -> None:
    text = json.dumps(values)
    output = as_mappings(parse_reply(text, Order))
    found = partials(PartialObject(), Order, text, cuts)
    assert found[-1] == output
    assert all(stays(one, other) for one, other in pairwise(found))


@given(ORDERS, CUTS)
def test_partials_of_a_reply_in_sections_only_grow_until_they_are_the_output(
    values: dict[str, Any], cuts: list[int]
) -> None:
    form = ANSWER_FORMATS["text"]
    text = form.answer(Order, values)
    output = as_mappings(form.read(text, Order))
    found = partials(PartialSections(Order), Order, text, cuts)
    assert {**Order.parse(values).model_dump(), **found[-1]} == output
    assert set(found[-1]) == set(values)
    assert all(stays(one, output) for one in found)
    assert all(stays(one, other) for one, other in pairwise(found))


def test_a_text_is_shown_as_it_grows_and_all_else_when_it_is_whole() -> None:
    text = '{"why": "a b", "state": "open", "total": 12.5, "due": "2024-02-01", "paid": true}'
    found = letters(Order, text)
    shown = [{name: part[name] for name in part} for part in found]
    assert [part["why"] for part in shown if "why" in part][:4] == ["", "a", "a ", "a b"]
    for name, value in {"state": "open", "total": 12.5, "due": date(2024, 2, 1), "paid": True}.items():
        assert {repr(part[name]) for part in shown if name in part} == {repr(value)}


def test_a_list_grows_by_whole_items_and_a_nested_schema_by_its_members() -> None:
    found = letters(Order, '{"first": {"name": "x", "count": 3}, "lines": [{"name": "y", "count": 1}, {"name": "z"')
    assert {"first": {"name": "x"}} in found
    assert found[-1] == {"first": {"name": "x", "count": 3}, "lines": [{"name": "y", "count": 1}]}


@pytest.mark.parametrize(
    "text",
    ['{"state": "maybe"}', '{"total": "many"}', '{"total": true}', '{"paid": 1}', '{"first": 3}', '{"due": "soon"}'],
)
def test_a_value_that_does_not_fit_is_never_shown(text: str) -> None:
    assert {json.dumps(part) for part in letters(Order, text)} == {"{}"}


def test_a_list_ends_before_the_item_that_does_not_fit() -> None:
    text = '{"lines": [{"name": "x", "count": 1}, {"name": "y", "count": 0}, {"name": "z", "count": 1}]}'
    assert letters(Order, text)[-1] == {"lines": [{"name": "x", "count": 1}]}


def test_an_unknown_field_is_not_shown() -> None:
    assert letters(Order, '{"because": "x", "why": "y"}')[-1] == {"why": "y"}


class Changed(Schema):
    """Fields whose values are not what the reply says."""

    loud: str
    plain: str
    shout: Annotated[str, AfterValidator(str.upper)]
    renamed: str = Field(alias="given")

    @transform("loud")
    @staticmethod
    def upper(value: str) -> str:
        return value.upper()


def test_a_field_that_is_changed_on_the_way_is_shown_only_as_it_ends() -> None:
    found = letters(Changed, '{"loud": "a", "shout": "b", "plain": "c", "given": "d"}')
    assert found[-1] == {"loud": "A", "shout": "B", "plain": "c", "renamed": "d"}
    assert {part.get("loud") for part in found} == {None, "A"}
    assert {part.get("shout") for part in found} == {None, "B"}
    assert {part.get("renamed") for part in found} == {None, "", "d"}


class Tree(Schema):
    name: str
    below: list[Tree] = Field(default_factory=list)
    next: Tree | None = None


def test_a_schema_may_hold_itself() -> None:
    found = letters(Tree, '{"name": "a", "next": {"name": "b", "below": [{"name": "c"}], "next": {"name": "d')
    assert found[-1] == {
        "name": "a",
        "next": {"name": "b", "below": [{"name": "c", "below": [], "next": None}], "next": {"name": "d"}},
    }


def test_a_line_that_may_become_a_heading_is_held_back() -> None:
    text = "## why\nfirst line\n## sta"
    found = partials(PartialSections(Order), Order, text, list(range(len(text))))
    assert {part.get("why") for part in found[:-1]} == {None, *("first line"[:n] for n in (1, 2, 3, 4, 5, 7, 8, 9, 10))}
    assert found[-1] == {"why": "first line\n## sta"}


def test_a_plainer_heading_starts_the_reading_over() -> None:
    reader = PartialSections(Order)
    found = partials(reader, Order, "total: 3 is my guess\nwhy: so\n## total\n4\n## why\nthis\n## end\nBye.", [])
    assert found[-1] == {"total": 4.0, "why": "this"}
    assert reader.restarts == 1
