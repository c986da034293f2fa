"""Whatever a model says, what a stream shows of it is never contradicted without a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray.errors import OutputError
from dspex_ray.lm.base import LMChunk, LMReply
from dspex_ray.prompting.answer_formats.names import ANSWER_FORMATS
from dspex_ray.schema import Schema
from dspex_ray.streaming.heard_call import HeardCall
from dspex_ray.streaming.piece import StreamPiece
from dspex_ray.streaming.shapes import as_mappings


class Route(Schema):
    why: str
    intent: Literal["cash", "card"]
    urgent: bool = False


class Heard:
    """A listener that keeps every piece."""

    def __init__(self) -> None:
        self.pieces: list[StreamPiece[Any]] = []

    def next_call(self) -> int:
        return 0

    async def hear(self, piece: StreamPiece[Any]) -> None:
        self.pieces.append(piece)


OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "why": st.text(st.sampled_from("ab \n#\"'{}:\\\U0001f600"), max_size=8) | st.integers(),
        "intent": st.sampled_from(["cash", "card", "crad"]),
        "urgent": st.sampled_from([True, False, "yes"]),
        "more": st.just({"why": "inner", "intent": "cash"}),
    },
).map(json.dumps)
SECTIONS = st.sampled_from(
    [
        "## why\n",
        "## intent\n",
        "card\n",
        "cash",
        "so it is\n",
        "## end\n",
        "**why:** so\n",
        "intent: cash\n",
        "\n",
        '"a"\n',
    ]
)
BITS = st.sampled_from(
    ["```json\n", "\n```\n", "Well, ", "{", "}", '"', "'", ", ", "card", "{'why': 'it's', intent: 'cash'}"]
)
REPLIES = st.lists(OBJECTS | BITS | SECTIONS, max_size=8).map("".join)


async def told(form: str, reply: str, cuts: list[int]) -> tuple[list[StreamPiece[Any]], Schema | None]:
    """Return the pieces of one call with this reply, and its output if it is a valid one."""
    places = [0, *sorted({place % (len(reply) + 1) for place in cuts}), len(reply)]
    listener = Heard()
    call = HeardCall(listener, "", Route, form)

    async def chunks() -> AsyncIterator[LMChunk]:
        for a, b in pairwise(places):
            yield LMChunk(delta=reply[a:b])
        yield LMChunk(reply=LMReply(text=reply, model="m"))

    whole = await call.read(chunks())
    assert whole.text == reply
    try:
        output = ANSWER_FORMATS[form].read(reply, Route)
    except OutputError:
        return listener.pieces, None
    await call.close(output)
    return listener.pieces, output


def stays(one: StreamPiece[Any], other: StreamPiece[Any]) -> bool:
    """Whether all that a piece shows still stands in a later one."""
    texts = {name for name, value in one.partial.items() if isinstance(value, str) and name not in one.complete}
    rest = {name: value for name, value in one.partial.items() if name not in texts}
    return (
        all(name in other.partial and other.partial[name] == value for name, value in rest.items())
        and all(str(other.partial.get(name)).startswith(one.partial[name]) for name in texts)
        and set(one.complete) <= set(other.complete)
    )


@pytest.mark.parametrize("form", ["json", "text"])
@given(REPLIES, st.lists(st.integers(0, 500), max_size=30))
def test_nothing_shown_is_contradicted_but_by_a_piece_that_takes_it_back(
    form: str, reply: str, cuts: list[int]
) -> None:
    pieces, output = asyncio.run(told(form, reply, cuts))
    assert "".join(piece.delta for piece in pieces) == reply
    assert all(other.restarted or stays(one, other) for one, other in pairwise(pieces))
    if output is not None:
        assert (pieces[-1].partial, set(pieces[-1].complete)) == (as_mappings(output), set(Route.model_fields))


@pytest.mark.parametrize(
    ("form", "reply"),
    [
        ("json", '{"why": "a", "intent": "cash"} or\n```json\n{"why": "b", "intent": "card"}\n```'),
        ("text", "## why\nin a block\n**intent:** cash"),
        ("text", "## why\na\n## intent\ncard\n## why\n"),
        ("text", '{"why": "b", "intent": "card"}'),
    ],
)
def test_a_reply_whose_meaning_only_its_end_shows_is_told_right_at_the_end(form: str, reply: str) -> None:
    pieces, output = asyncio.run(told(form, reply, list(range(len(reply)))))
    assert output is not None
    assert pieces[-1].partial == as_mappings(output)
