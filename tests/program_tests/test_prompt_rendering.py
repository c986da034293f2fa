from __future__ import annotations

import json
from typing import Literal

import pytest

from dspex_ray.errors import InputError
from dspex_ray.example import as_text, make_example
from dspex_ray.prompting.answer_formats.response_schema import response_schema
from dspex_ray.prompting.prompt import ask_again, demo_messages, render, system_text
from dspex_ray.schema import Probability, Schema, field


class Question(Schema):
    message: str


class Wide(Schema):
    message: str
    count: int = 2


class Reply(Schema):
    title: Literal["a", "b"] = field(description="Which one.")
    confidence: Probability = 0.5


def test_a_single_field_is_its_value_and_several_are_lines() -> None:
    assert as_text({"message": "Hi {there}"}) == "Hi {there}"
    assert as_text({"count": 3}) == "3"
    assert as_text({"message": "one\ncount: 9", "count": 2}) == "message: one\n  count: 9\ncount: 2"


def test_the_system_message_holds_instruction_fields_and_compact_schema() -> None:
    text = system_text(Reply, "Do it.")
    assert text.startswith("Do it.\n\n")
    assert "- title (one of the 2 values listed in the schema): Which one." in text
    assert "- confidence (number from 0 to 1, 0.5 if absent)" in text
    assert "Answer with one JSON object" in text
    assert json.loads(text.splitlines()[-1]) == response_schema(Reply)


def test_titles_are_dropped_but_a_field_called_title_stays() -> None:
    schema = response_schema(Reply)
    assert list(schema["properties"]) == ["title", "confidence"]
    assert "title" not in schema
    assert "title" not in schema["properties"]["confidence"]


def test_messages_go_from_what_never_changes_to_the_input() -> None:
    demos = [
        demo_messages(Wide, Reply, make_example({"message": m}, {"title": t})) for m, t in (("x", "a"), ("y", "b"))
    ]
    messages = render(Reply, "Do it.", demos, Wide(message="z"))
    assert [m.role for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[1].content == "message: x\ncount: 2"
    assert messages[2].content == '{"title": "a"}'
    assert messages[-1].content == "message: z\ncount: 2"
    assert render(Reply, "Do it.", demos, Wide(message="z")) == messages


def test_a_demonstration_that_breaks_the_schema_is_an_error() -> None:
    with pytest.raises(InputError, match="'c' is not one of"):
        demo_messages(Question, Reply, make_example({"message": "x"}, {"title": "c"}))


def test_asking_again_shows_the_bad_reply_and_the_complaint() -> None:
    first = render(Reply, "Do it.", [], Question(message="z"))
    again = ask_again(first, "nonsense", "title: required.")
    assert again[: len(first)] == first
    assert [m.role for m in again[len(first) :]] == ["assistant", "user"]
    assert again[-2].content == "nonsense"
    assert "title: required." in again[-1].content
    assert ask_again(first, "", "x")[-2].content == "(no text)"
