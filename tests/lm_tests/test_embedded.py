"""`embedded/nearest`: demonstrations, zero-shot filling, and that it always answers valid JSON."""

from __future__ import annotations

import asyncio
import json
import pickle
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from dspex_ray.lm.base import LM, ChatMessage, LMReply, LMRequest
from dspex_ray.lm.embedded import EmbeddedNearest
from dspex_ray.lm.tokens import count_tokens

TEXTS = st.text(st.characters(), max_size=60)  # lone surrogates too


def conversation(demos: list[tuple[str, str]], query: str) -> tuple[ChatMessage, ...]:
    pairs = [
        message
        for asked, answered in demos
        for message in (ChatMessage("user", asked), ChatMessage("assistant", answered))
    ]
    return (ChatMessage("system", "Classify the message."), *pairs, ChatMessage("user", query))


def answer(messages: tuple[ChatMessage, ...], schema: dict[str, Any] | None = None) -> LMReply:
    return asyncio.run(EmbeddedNearest().complete(LMRequest(messages=messages, response_schema=schema)))


def filled(model: type[BaseModel], message: str) -> BaseModel:
    return model.model_validate_json(answer(conversation([], message), model.model_json_schema()).text)


DEMOS = [
    ("Where is my new card?", '{"intent": "card_arrival"}'),
    ("What is the exchange rate today?", '{"intent": "exchange_rate"}'),
]


def test_it_is_an_lm() -> None:
    assert isinstance(EmbeddedNearest(), LM)


def test_it_answers_with_the_nearest_demonstration_word_for_word() -> None:
    assert answer(conversation(DEMOS, "my card has not come, where is it")).text == DEMOS[0][1]
    assert answer(conversation(DEMOS, "which rate do you exchange at")).text == DEMOS[1][1]


def test_usage_counts_every_message_and_the_cost_is_nothing() -> None:
    reply = answer(conversation(DEMOS, "card?"))
    texts = ["Classify the message.", *(text for pair in DEMOS for text in pair), "card?"]
    assert reply.usage.prompt_tokens == sum(map(count_tokens, texts))
    assert reply.usage.completion_tokens == count_tokens(DEMOS[0][1])
    assert (reply.cost_usd, reply.model) == (0.0, "embedded/nearest")


def test_tokens_are_runs_of_six_word_characters_and_single_marks() -> None:
    assert [count_tokens(text) for text in ("", "  \n", "word", "sixsix7", "a-b", "Straße!")] == [0, 0, 1, 2, 3, 2]


def test_a_stream_ends_with_the_reply() -> None:
    async def collect() -> list[tuple[str, LMReply | None]]:
        chunks = EmbeddedNearest().stream(LMRequest(messages=conversation(DEMOS, "card")))
        return [(chunk.delta, chunk.reply) async for chunk in chunks]

    chunks = asyncio.run(collect())
    assert chunks[-1][1] is not None
    assert "".join(delta for delta, _ in chunks) == chunks[-1][1].text == DEMOS[0][1]


def test_messages_that_are_no_pair_before_the_last_user_message_are_no_demonstrations() -> None:
    messages = (ChatMessage("assistant", "stray"), ChatMessage("user", "first"), ChatMessage("user", "second"))
    assert answer(messages).text == "second"
    assert answer((*messages, ChatMessage("assistant", "later"))).text == "second"
    assert answer(()).text == ""


class Colour(Enum):
    dark_red = "dark_red"
    light_blue = "light_blue"


class Inner(BaseModel):
    note: str
    colour: Colour


class Everything(BaseModel):
    intent: Literal["card_arrival", "lost_or_stolen_card", "exchange_rate"]
    colour: Colour
    maybe: Literal["yes", "no"] | None = None
    fixed: Literal["only"]
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.9
    share: Annotated[float, Field(gt=0, lt=1)]
    stars: Annotated[int, Field(gt=0, le=2)]
    count: int
    floor: Annotated[float, Field(gt=5)]
    depth: Annotated[int, Field(lt=-3)]
    short: Annotated[str, Field(max_length=8)]
    sure: bool
    tags: list[str]
    two: Annotated[list[Inner], Field(min_length=2)]
    inner: Inner
    either: int | str = 4


def test_every_kind_of_field_gets_a_valid_value() -> None:
    value = filled(Everything, "I lost my card, was it stolen? It is light blue.")
    assert isinstance(value, Everything)
    assert (value.intent, value.colour, value.inner.colour) == (
        "lost_or_stolen_card",
        Colour.light_blue,
        Colour.light_blue,
    )
    assert (value.confidence, value.share, value.stars, value.count) == (0.9, 0.5, 1, 0)
    assert (value.floor, value.depth, value.either) == (6.0, -4, 4)
    assert (value.short, value.sure, value.tags, len(value.two)) == ("I lost m", False, [], 2)


def test_a_schema_that_contains_itself_comes_to_an_end() -> None:
    schema = {"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}}
    assert json.loads(answer(conversation([], "hello"), schema).text)["next"]["next"]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"properties": {"x": True}},
        {"properties": {"x": {"enum": []}}},
    ],
)
def test_an_odd_schema_still_gets_a_json_object(schema: dict[str, Any]) -> None:
    assert isinstance(json.loads(answer(conversation([], "hello"), schema).text), dict)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5, unique=True), TEXTS)
def test_a_literal_schema_always_gets_one_of_its_labels(labels: list[str], message: str) -> None:
    output: type[BaseModel] = create_model("Output", label=(Literal[tuple(labels)], ...))  # type: ignore[arg-type]
    schema = output.model_json_schema()
    assert json.loads(answer(conversation([], message), schema).text)["label"] in labels


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6), TEXTS)
def test_any_conversation_gets_an_answer_in_whole_texts(demos: list[tuple[str, str]], query: str) -> None:
    reply = answer(conversation(demos, query), {"properties": {"text": {"type": "string"}}})
    assert reply.text in [answered for _, answered in demos] or json.loads(reply.text).keys() == {"text"}


def test_it_pickles() -> None:
    copy = pickle.loads(pickle.dumps(EmbeddedNearest()))
    assert copy.answer(conversation(DEMOS, "card"), None) == DEMOS[0][1]
