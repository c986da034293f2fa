"""What of a prompt reaches a provider: pictures, schemas, parameters, and the mark for its prompt cache."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dspex_coordination.variables import Demos
from dspex_ray.demos import DemoPool
from dspex_ray.errors import LMContextWindowError
from dspex_ray.example import make_example
from dspex_ray.lm.base import LM, ChatMessage, LMReply, LMRequest
from dspex_ray.lm.cache.key import request_key
from dspex_ray.lm.context_window import check_fits
from dspex_ray.lm.dialect import Dialect
from dspex_ray.lm.litellm_client import LiteLLMLM
from dspex_ray.lm.native_schema import native_schema
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import price_of
from dspex_ray.lm.provider_traits import Traits, marked
from dspex_ray.lm.tokens import IMAGE_TOKENS, count_prompt_tokens
from dspex_ray.programs.program import Program
from dspex_ray.schema import Image, Probability, Schema, field
from dspex_ray.testing.model_server import ModelServer

# litellm's own types make pydantic warn at streamed replies; not ours to mend
pytestmark = [
    pytest.mark.filterwarnings("ignore:Item '.*' on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*' attribute:DeprecationWarning"),
]

PNG = "data:image/png;base64,iVBORw0KGgo="
GIF = "data:image/gif;base64,R0lGODlh"
REPLY = '{"label": "cat"}'


class Look(Program):
    """Say what it is."""

    class Input(Schema):
        photo: Image
        others: list[Image] = field(default_factory=list)
        hint: str = ""

    class Output(Schema):
        label: Literal["cat", "dog"]
        confidence: Probability = 0.5

    demos = Demos(max=4)


async def asked(make_lm: Callable[[str], LM], program: Program, *inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the bodies that a server of OpenAI's or Anthropic's kind is sent for the inputs."""
    bodies: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        choice = {"index": 0, "message": {"role": "assistant", "content": REPLY}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        return web.json_response({**head, "choices": [choice], "usage": usage})

    async def messages(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        content = [{"type": "text", "text": REPLY}]
        usage = {"input_tokens": 1, "output_tokens": 1}
        head = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
        return web.json_response({**head, "content": content, "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/messages", messages)
    async with TestServer(app) as server:
        lm = make_lm(str(server.make_url("")).rstrip("/"))
        for values in inputs:
            await program.with_lm(lm).acall(values)
        await lm.aclose()
    return bodies


def direct(url: str) -> LM:
    return OpenAICompatibleLM("openai/m", wire_model="m", base_url=f"{url}/v1", api_key="k", price=None)


def through_litellm(url: str) -> LM:
    return LiteLLMLM("openai/m", base_url=f"{url}/v1", api_key="k")


def claude(url: str) -> LM:
    return LiteLLMLM("anthropic/claude-sonnet-4-5", base_url=url, api_key="k")


def shown(program: Program, select: Literal["fixed", "nearest"] = "fixed") -> Program:
    pool = DemoPool([make_example({"photo": GIF, "hint": "h"}, {"label": "dog"})])
    value = {"select": "fixed", "ids": list(pool.ids)} if select == "fixed" else {"select": "nearest", "k": 1}
    return program.with_demo_pool(pool).with_values({"demos": value})


@pytest.mark.parametrize("make_lm", [direct, through_litellm])
def test_pictures_of_inputs_and_demonstrations_are_sent_as_image_parts(make_lm: Callable[[str], LM]) -> None:
    (body,) = asyncio.run(asked(make_lm, shown(Look()), {"photo": PNG, "others": [GIF, "https://x.test/a.png"]}))
    _, demo, answer, question = body["messages"]
    assert [part["type"] for part in demo["content"]] == ["text", "image_url"]
    assert demo["content"][1]["image_url"]["url"] == GIF
    assert answer["content"] == '{"label": "dog"}'
    text, *images = question["content"]
    assert text["text"] == 'photo: (image 1)\nothers: ["(image 2)", "(image 3)"]\nhint: '
    assert [image["image_url"]["url"] for image in images] == [PNG, GIF, "https://x.test/a.png"]


def test_the_schema_a_provider_can_say_is_strict_and_the_others_is_sent_as_it_is() -> None:
    (body,) = asyncio.run(asked(direct, Look(), {"photo": PNG}))
    asked_form = body["response_format"]["json_schema"]
    assert asked_form["strict"] is True
    assert asked_form["schema"]["required"] == ["label", "confidence"]
    assert asked_form["schema"]["additionalProperties"] is False

    free = {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": True}}}
    assert native_schema(free, "openai") == (free, False)
    assert native_schema(free, "openai")[0] is native_schema(free, "openai")[0]
    dangling = {"type": "object", "properties": {"a": {"$ref": "#/$defs/Gone", "description": "x"}}}
    assert native_schema(dangling, "openai") == (dangling, False)


@pytest.mark.parametrize("refused", ["seed", "stop", "frequency_penalty", "presence_penalty", "reasoning_effort"])
def test_a_parameter_the_endpoint_refuses_is_dropped_and_the_others_stay(refused: str) -> None:
    given = {"seed": 3, "frequency_penalty": 0.5, "presence_penalty": 0.25, "reasoning_effort": "low"}
    request = LMRequest(messages=(ChatMessage("user", "hello"),), stop=("END",), **given)  # type: ignore[arg-type] # a table
    every = {**given, "stop": ["END"]}

    async def twice(lm: LM) -> None:
        await lm.complete(request)
        await lm.complete(request)
        await lm.aclose()

    with ModelServer(refuses={refused}) as server:
        asyncio.run(twice(direct(server.base_url.removesuffix("/v1"))))
        body, requests = server.last_body, server.counters()["requests"]
    assert {name: body.get(name) for name in every} == {**every, refused: None}
    assert requests == 3


def test_claude_is_told_where_the_stable_part_of_a_prompt_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    inputs = ({"photo": PNG, "hint": "a"}, {"photo": GIF, "hint": "b"})
    first, second = asyncio.run(asked(claude, shown(Look()), *inputs))
    assert cache_marks(first) == cache_marks(second) == [("assistant", '{"label": "dog"}')]
    assert first["system"] == second["system"]
    (nearest,) = asyncio.run(asked(claude, shown(Look(), "nearest"), inputs[0]))
    assert [role for role, _ in cache_marks(nearest)] == ["system"]


def test_a_program_may_keep_its_prompts_out_of_the_providers_cache() -> None:
    class Unkept(Look):
        prompt_caching = False

    (body,) = asyncio.run(asked(claude, shown(Unkept()), {"photo": PNG}))
    assert cache_marks(body) == []


def test_what_is_written_to_the_prompt_cache_is_paid_for_in_streams_too() -> None:
    usage = {"input_tokens": 100, "cache_creation_input_tokens": 900, "cache_read_input_tokens": 0, "output_tokens": 1}
    head: dict[str, Any] = {
        "id": "x",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "yes"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 10}},
        {"type": "message_stop"},
    ]

    async def messages(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await response.write_eof()
        return response

    async def streamed() -> LMReply | None:
        app = web.Application()
        app.router.add_post("/v1/messages", messages)
        async with TestServer(app) as server:
            request = LMRequest(messages=(ChatMessage("user", "q"),))
            chunks = [chunk async for chunk in claude(str(server.make_url("")).rstrip("/")).stream(request)]
            return chunks[-1].reply

    reply, price = asyncio.run(streamed()), price_of("anthropic/claude-sonnet-4-5")
    assert reply is not None
    assert price is not None
    assert (reply.text, reply.usage.prompt_tokens, reply.usage.completion_tokens) == ("yes", 1000, 10)
    paid = (100 + 900 * 1.25) * price.prompt_usd + 10 * price.completion_usd
    assert reply.cost_usd == pytest.approx(paid)


def test_a_schema_that_is_refused_as_strict_is_sent_as_it_is_before_it_is_left_out() -> None:
    request = LMRequest(messages=(ChatMessage("user", "x"),), response_schema={"type": "object", "properties": {}})
    plain = Dialect().after_refusal("Invalid schema for response_format 'reply': 'allOf' is not permitted.", request)
    assert plain is not None
    assert plain == Dialect(strict=False)
    sent = plain.body("m", request, stream=False)["response_format"]["json_schema"]
    assert (sent["strict"], sent["schema"]) == (False, request.response_schema)
    assert plain.after_refusal("Invalid schema for response_format", request) == replace(
        plain, response_format="json_object"
    )


def cache_marks(body: dict[str, Any]) -> list[tuple[str, str]]:
    system = [("system", part) for part in body["system"]]
    rest = [(message["role"], part) for message in body["messages"] for part in message["content"]]
    return [(role, part["text"]) for role, part in system + rest if "cache_control" in part]


def test_a_mark_is_never_put_on_an_empty_text() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": ""}, {"role": "user", "content": "q"}]
    made = marked(messages, 2)
    assert made[0]["content"] == [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    assert made[1:] == messages[1:]
    assert marked(messages, 0) == messages


def test_a_provider_gets_the_schema_in_its_own_spelling() -> None:
    of = Traits.of
    assert of("anthropic", "anthropic/claude-x", takes_schema=True, caches=True).dialect.schema_dialect == "anthropic"
    assert of("bedrock", "bedrock/anthropic.claude-x", takes_schema=True, caches=True).marks_cache
    assert not of("anthropic", "anthropic/claude-x", takes_schema=True, caches=False).marks_cache
    groq = of("groq", "groq/llama", takes_schema=False, caches=True)
    assert (groq.dialect.schema_dialect, groq.dialect.response_format, groq.marks_cache) == (
        "groq",
        "json_object",
        False,
    )


@pytest.mark.parametrize("make_lm", [direct, through_litellm])
def test_prompts_of_two_inputs_are_the_same_bytes_up_to_the_input(make_lm: Callable[[str], LM]) -> None:
    inputs = ({"photo": PNG, "hint": "one"}, {"photo": PNG, "hint": "two"})
    bodies = asyncio.run(asked(make_lm, shown(Look()), *inputs))
    first, second = (json.dumps(body["messages"]) for body in bodies)
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    shared = "".join(one for one, _ in pairs)
    before_input = json.dumps(bodies[0]["messages"][:-1])[:-1]
    assert shared.startswith(before_input)
    assert shared.endswith("hint: ")


def test_an_image_counts_its_stated_tokens_and_tells_cache_keys_apart() -> None:
    plain, pictured = ChatMessage("user", "a b"), ChatMessage("user", "a b", (PNG,))
    assert count_prompt_tokens([pictured]) == count_prompt_tokens([plain]) + IMAGE_TOKENS
    with pytest.raises(LMContextWindowError, match=f"about {3 * IMAGE_TOKENS:,} tokens"):
        check_fits([ChatMessage("user", "", (PNG,) * 3)], IMAGE_TOKENS, "m")
    keys = {
        request_key("m", "", LMRequest(messages=(one,)))
        for one in (plain, pictured, ChatMessage("user", "a b", (GIF,)))
    }
    assert len(keys) == 3
    assert "iVBOR" not in repr(pictured)
