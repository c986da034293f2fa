"""A program's answer piece by piece: over HTTP, through sub-programs, for slow readers and for those who leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Literal

import pytest

from dspex_ray.calls import recording
from dspex_ray.errors import InputError, LMServerError, OutputError, UsageError
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.programs.program import Program
from dspex_ray.schema import Schema
from dspex_ray.streaming import StreamPiece, astream, stream
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer


class Route(Program):
    """Route the message and say why."""

    class Input(Schema):
        message: str

    class Output(Schema):
        why: str
        intent: Literal["cash", "card"]
        urgent: bool = False


class TextRoute(Route):
    """Route the message."""

    answer_format = "text"


class Both(Program):
    """Ask twice at once, then once more."""

    class Input(Schema):
        message: str

    class Output(Schema):
        intents: list[str]

    left = Route()
    right = Route()
    last = Route()

    async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
        asked = [self.left(message=input.message), self.right(message=input.message)]
        first = await asyncio.gather(*asked)
        return self.Output(intents=[one.intent for one in [*first, await self.last(message="x")]])


GOOD = {"why": "it has \U0001f600 and a chip", "intent": "card", "urgent": True}
REPLY = f"Sure: {json.dumps(GOOD)}"


def client(server: ModelServer) -> OpenAICompatibleLM:
    return OpenAICompatibleLM(
        "openai/simulated", wire_model="simulated", base_url=server.base_url, api_key=None, price=None, max_attempts=1
    )


def heard(program: Program, server: ModelServer, fields: dict[str, Any] | None = None) -> list[StreamPiece[Any]]:
    """Return all pieces of one answer of the program asking the server."""

    async def once() -> list[StreamPiece[Any]]:
        lm = client(server)
        try:
            return [piece async for piece in astream(program.with_lm(lm), fields or {"message": "x"})]
        finally:
            await lm.aclose()

    return asyncio.run(once())


@pytest.fixture
def served() -> Iterator[Callable[..., ModelServer]]:
    """Return what starts a server; all end with the test."""
    started: list[ModelServer] = []

    def start(*answers: str, **options: Any) -> ModelServer:
        started.append(ModelServer(answer=list(answers), **options))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop()


def test_the_deltas_are_the_reply_and_the_last_piece_alone_has_the_output(served: Any) -> None:
    pieces = heard(Route(), served(REPLY))
    assert "".join(piece.delta for piece in pieces) == REPLY
    assert len(pieces) > 10
    assert [piece.output for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].output == Route.Output.parse(GOOD)
    assert pieces[-1].partial == GOOD
    assert {(piece.place, piece.call) for piece in pieces[:-1]} == {("", 0)}
    assert not any(piece.restarted for piece in pieces)


def test_each_field_is_named_complete_when_it_can_change_no_more(served: Any) -> None:
    pieces = heard(Route(), served(REPLY))
    for piece in pieces:
        for name in piece.complete:
            assert piece.partial[name] == GOOD[name]
        assert {"intent", "urgent"} & piece.partial.keys() <= set(piece.complete)
    assert pieces[-1].complete == ("why", "intent", "urgent")
    assert any(piece.partial.get("why") and not piece.complete for piece in pieces)


def test_a_reply_that_is_not_valid_is_asked_again_after_a_piece_that_says_so(served: Any) -> None:
    pieces = heard(Route(), served('{"why": "so", "intent": "crad"}', json.dumps(GOOD)))
    restarts = [number for number, piece in enumerate(pieces) if piece.restarted]
    assert len(restarts) == 1
    assert pieces[restarts[0] - 1].partial == {"why": "so"}
    assert (pieces[restarts[0]].partial, pieces[restarts[0]].complete) == ({}, ())
    assert "".join(piece.delta for piece in pieces[restarts[0] :]) == json.dumps(GOOD)
    assert pieces[-1].output == Route.Output.parse(GOOD)


def test_an_object_that_is_not_the_answer_is_taken_back(served: Any) -> None:
    pieces = heard(Route(), served(f'I think {{"why": "a"}}, no: {json.dumps(GOOD)}'))
    assert [piece.partial.get("why", "")[:4] for piece in pieces if piece.restarted] == [""]
    assert pieces[-1].output == Route.Output.parse(GOOD)


def test_what_the_reply_left_to_a_default_is_told_before_the_output(served: Any) -> None:
    pieces = heard(Route(), served('{"why": "so", "intent": "cash"}'))
    assert pieces[-2].partial == {"why": "so", "intent": "cash", "urgent": False}
    assert pieces[-2].complete == ("why", "intent", "urgent")


def test_a_reply_in_sections_is_streamed_as_well(served: Any) -> None:
    pieces = heard(TextRoute(), served("## why\nso it is\nindeed\n## intent\ncash\n## end"))
    shown = [piece.partial["why"] for piece in pieces if piece.partial.keys() == {"why"}]
    assert shown[:3] == ["so", "so it", "so it is"]
    assert pieces[-1].output == TextRoute.Output.parse({"why": "so it is\nindeed", "intent": "cash"})
    assert not any(piece.restarted for piece in pieces)


def test_the_pieces_of_concurrent_calls_carry_their_place_and_number(served: Any) -> None:
    pieces = heard(Both(), served(*[json.dumps(GOOD)] * 3))
    by_call: dict[int | None, list[StreamPiece[Any]]] = {}
    for piece in pieces[:-1]:
        by_call.setdefault(piece.call, []).append(piece)
    assert {call: {piece.place for piece in told} for call, told in by_call.items()} == {
        0: {"left"},
        1: {"right"},
        2: {"last"},
    }
    assert all("".join(piece.delta for piece in told) == json.dumps(GOOD) for told in by_call.values())
    assert (pieces[-1].place, pieces[-1].call, pieces[-1].partial) == ("", None, {"intents": ["card"] * 3})


def test_a_reply_from_the_cache_comes_as_one_delta(served: Any) -> None:
    server = served(REPLY)

    async def twice() -> list[list[str]]:
        lm = client(server)
        program = Route().with_cache("memory").with_lm(lm)
        told = [[p.delta async for p in astream(program, {"message": "x"})] for _ in range(2)]
        await lm.aclose()
        return told

    first, second = asyncio.run(twice())
    assert len(first) > len(second)
    assert [delta for delta in second if delta] == [REPLY]
    assert server.counters()["requests"] == 1


def test_a_model_that_does_not_stream_gives_its_reply_as_one_delta(scripted: Any) -> None:
    pieces = list(stream(Route().with_lm(scripted(REPLY)), {"message": "x"}))
    assert [piece.delta for piece in pieces] == [REPLY, ""]
    assert pieces[0].partial == GOOD


def test_a_bare_label_is_told_before_the_output(route: Any, scripted: Any) -> None:
    first, second, last = stream(route().with_lm(scripted("Card.")), {"message": "x"})
    assert (first.delta, first.partial) == ("Card.", {})
    assert second.partial == last.partial == {"intent": "card", "confidence": 1.0}


def test_a_program_without_a_model_call_gives_its_output_alone() -> None:
    class Length(Program):
        class Input(Schema):
            message: str

        class Output(Schema):
            length: int

        async def predict(self, input: Any) -> Any:  # noqa: A002 - the name the base class gives it
            return self.Output(length=len(input.message))

    (piece,) = stream(Length(), {"message": "four"})
    assert piece.output == Length.Output(length=4)


@pytest.mark.parametrize(
    ("fields", "answers", "error"),
    [
        ({"massage": "x"}, [], InputError),
        ({"message": "x"}, ["nothing", "at all"], OutputError),
    ],
)
def test_what_the_program_raises_comes_out_of_the_iteration(
    served: Any, fields: dict[str, Any], answers: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        heard(Route(), served(*answers), fields)


def test_a_model_that_fails_ends_both_streams_with_its_error(served: Any) -> None:
    server = served(weather=Weather(script=["500", "500"]))
    with pytest.raises(LMServerError):
        heard(Route(), server)
    with pytest.raises(LMServerError):
        list(stream(Route().with_lm(client(server)), {"message": "x"}))


def slow_server(served: Any) -> ModelServer:
    """Return a server that stands still for an hour behind the first piece."""
    server: ModelServer = served(REPLY, weather=Weather(script=["slow"], faults=Faults(slow_s=3600)))
    return server


def test_a_reader_who_leaves_cancels_the_model_call(served: Any, wait: Any) -> None:
    server = slow_server(served)

    async def leave() -> None:
        lm = client(server)
        async with aclosing(astream(Route().with_lm(lm), {"message": "x"})) as pieces:
            async for piece in pieces:
                assert piece.delta == "Sure:"
                assert server.counters()["in_flight"] == 1
                break
        await lm.aclose()

    asyncio.run(leave())
    wait(lambda: server.counters()["in_flight"] == 0, what="no request in flight")
    assert server.counters()["abandoned"] == 1


def test_closing_the_generator_cancels_the_model_call_without_a_loop_of_ones_own(
    served: Any, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = slow_server(served)
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    pieces = stream(Route().with_lm("openai/simulated"), {"message": "x"})
    assert next(pieces).delta == "Sure:"
    pieces.close()
    wait(lambda: server.counters()["in_flight"] == 0, what="no request in flight")
    assert server.counters()["abandoned"] == 1


def test_an_iteration_that_is_left_without_closing_cancels_the_model_call(served: Any) -> None:
    server = slow_server(served)

    async def leave() -> None:
        lm = client(server)
        async for _ in astream(Route().with_lm(lm), {"message": "x"}):
            break
        async with asyncio.timeout(5):
            while server.counters()["in_flight"]:  # noqa: ASYNC110 - the server is on another thread
                await asyncio.sleep(0.01)
        await lm.aclose()

    asyncio.run(leave())


def test_a_reader_whose_time_is_over_cancels_the_model_call(served: Any, wait: Any) -> None:
    server = slow_server(served)

    async def read() -> None:
        lm = client(server)
        try:
            async with asyncio.timeout(0.2):
                async for _ in astream(Route().with_lm(lm), {"message": "x"}):
                    pass
        finally:
            await lm.aclose()

    with pytest.raises(TimeoutError):
        asyncio.run(read())
    wait(lambda: server.counters()["in_flight"] == 0, what="no request in flight")
    assert server.counters()["abandoned"] == 1


def test_leaving_cancels_all_calls_that_run_at_once(served: Any, wait: Any) -> None:
    server = served(*[REPLY] * 2, weather=Weather(script=["slow", "slow"], faults=Faults(slow_s=3600)))

    async def leave() -> None:
        lm = client(server)
        places = set()
        async with aclosing(astream(Both().with_lm(lm), {"message": "x"})) as pieces:
            async for piece in pieces:
                places.add(piece.place)
                if len(places) > 1:
                    break
        await lm.aclose()

    asyncio.run(leave())
    wait(lambda: server.counters()["in_flight"] == 0, what="no request in flight")
    assert server.counters()["abandoned"] == 2


class Endless:
    """A model that counts how much of its reply was read."""

    model = "endless"

    def __init__(self) -> None:
        self.read = 0
        self.closed = False

    async def complete(self, request: LMRequest) -> LMReply:
        raise NotImplementedError

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        del request
        try:
            while True:
                self.read += 1
                yield LMChunk(delta="more ")
        finally:
            self.closed = True

    async def aclose(self) -> None:
        """Nothing to close."""


def test_a_slow_reader_holds_up_the_reading_of_the_reply() -> None:
    async def look() -> list[int]:
        lm, read = Endless(), []
        async with aclosing(astream(Route().with_lm(lm), {"message": "x"})) as pieces:
            for _ in range(3):
                await anext(pieces)
                for _ in range(200):
                    await asyncio.sleep(0)
                read.append(lm.read)
        assert lm.closed
        return read

    first, *later = asyncio.run(look())
    assert first < 20
    assert later == [first + 1, first + 2]


def test_the_calls_of_a_stream_are_recorded_where_it_was_begun(scripted: Any) -> None:
    with recording() as log:
        pieces = list(stream(Both().with_lm(scripted(REPLY)), {"message": "x"}))
    assert pieces[-1].output is not None
    assert sorted(record.module or "" for record in log.records) == ["last", "left", "right"]
    assert {record.status for record in log.records} == {"ok"}


def test_a_call_outside_a_stream_is_not_streamed(scripted: Any) -> None:
    class Whole(scripted):  # type: ignore[misc]  # a class by fixture
        async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
            raise AssertionError
            yield

    assert Route().with_lm(Whole(REPLY)).run(message="x").intent == "card"


def test_the_plain_front_is_refused_inside_a_running_loop() -> None:
    async def inside() -> None:
        stream(Route(), {"message": "x"})

    with pytest.raises(UsageError, match=r"async for piece in program\.astream"):
        asyncio.run(inside())


def test_an_input_may_be_given_as_its_schema(scripted: Any) -> None:
    *_, last = stream(Route().with_lm(scripted(REPLY)), Route.Input(message="x"))
    assert last.output == Route.Output.parse(GOOD)
