"""The direct client's connections: kept alive, bounded, closed with the call; and prompts that are never sent."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from dspex_ray.errors import LMContextWindowError
from dspex_ray.lm.base import LM, ChatMessage, LMReply, LMRequest
from dspex_ray.lm.context_window import MARGIN, check_fits
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.testing.lm_contract import ask
from dspex_ray.testing.lm_load_contract import until_abandoned
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer


def direct(server: ModelServer, *, model: str = "vllm/m", concurrency: int | None = None) -> OpenAICompatibleLM:
    limits = LMLimits(concurrency=concurrency)
    return OpenAICompatibleLM(model, wire_model="m", base_url=server.base_url, api_key=None, price=None, limits=limits)


async def closing(lm: OpenAICompatibleLM, calls: list[LMRequest]) -> list[LMReply]:
    try:
        return await asyncio.gather(*(lm.complete(call) for call in calls))
    finally:
        await lm.aclose()


def test_calls_one_after_another_share_one_connection() -> None:
    async def in_turn(lm: LM) -> None:
        for number in range(30):
            await lm.complete(ask(f"{number}"))
            async for _ in lm.stream(ask(f"{number}")):
                pass
        await lm.aclose()

    with ModelServer() as server:
        asyncio.run(in_turn(direct(server)))
        assert server.counters()["requests"] == 60
        assert server.counters()["connections"] == 1


def test_a_connection_is_kept_after_a_refusal_too() -> None:
    async def in_turn(lm: LM) -> None:
        for number in range(5):
            await lm.complete(ask(f"{number}"))
        await lm.aclose()

    with ModelServer(weather=Weather(script=["429", "500", "ok"], faults=Faults(retry_after_s=0.01))) as server:
        asyncio.run(in_turn(direct(server)))
        assert (server.counters()["requests"], server.counters()["connections"]) == (7, 1)


def test_no_more_connections_are_made_than_requests_may_be_open() -> None:
    with ModelServer(weather=Weather(latency=0.005)) as server:
        replies = asyncio.run(closing(direct(server, concurrency=8), [ask(f"{n}") for n in range(200)]))
        counted = server.counters()
    assert len(replies) == counted["answered"] == 200
    assert counted["connections"] <= 8


def test_a_stream_that_is_left_early_closes_its_request_and_frees_its_place() -> None:
    async def leave_early(lm: OpenAICompatibleLM) -> str:
        stream = lm.stream(ask("one two three"))
        assert (await anext(stream)).delta == "one"
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator
        await until_abandoned(server)
        text = (await lm.complete(ask("again"))).text
        await lm.aclose()
        return text

    with ModelServer(weather=Weather(script=["slow"], faults=Faults(slow_s=60.0))) as server:
        assert asyncio.run(leave_early(direct(server, concurrency=1))) == "again"


def test_a_prompt_that_cannot_fit_is_told_by_how_much_and_never_sent() -> None:
    long = LMRequest(messages=(ChatMessage("user", "word " * 300_000),))
    with ModelServer() as server:
        lm = direct(server, model="openai/gpt-4o-mini")
        with pytest.raises(
            LMContextWindowError, match=r"about 300,000 tokens, .* takes 128,000: about 172,000"
        ) as caught:
            asyncio.run(closing(lm, [long]))
        assert server.counters()["requests"] == 0
    assert (caught.value.attempts, caught.value.retryable) == (0, False)


def test_an_estimate_within_its_margin_is_left_to_the_provider() -> None:
    check_fits([ChatMessage("user", "word " * int(100 * MARGIN))], 100, "m")
    check_fits([ChatMessage("user", "word " * 10_000)], None, "m")
    with pytest.raises(LMContextWindowError):
        check_fits([ChatMessage("user", "word " * int(100 * MARGIN + 1))], 100, "m")


def test_a_rate_header_of_the_server_slows_the_next_call_down() -> None:
    async def two(lm: OpenAICompatibleLM) -> float:
        await lm.complete(ask("one"))
        begun = asyncio.get_running_loop().time()
        await lm.complete(ask("two"))
        await lm.aclose()
        return asyncio.get_running_loop().time() - begun

    nothing_left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "80ms"}
    with ModelServer(headers=nothing_left) as server:
        assert asyncio.run(two(direct(server))) >= 0.08


TEN_THOUSAND = """
import asyncio, json, sys
from dspex_ray.lm.base import ChatMessage, LMRequest
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
lm = OpenAICompatibleLM("vllm/m", wire_model="m", base_url=sys.argv[1], api_key=None, price=None)
def asked(number):
    return lm.complete(LMRequest(messages=(ChatMessage("user", str(number)),), rollout_id=number, timeout_s=100.0))
def peak_mb():
    lines = open("/proc/self/status").read().splitlines()  # getrusage would begin with the parent's
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
async def main():
    first, before = await asked(-1), peak_mb()
    replies = await asyncio.gather(*(asked(number) for number in range(10_000)))
    right = sum(reply.text == str(number) for number, reply in enumerate(replies))
    tokens = sum(reply.usage.total_tokens for reply in [first, *replies])
    await lm.aclose()
    print(json.dumps({"right": right, "tokens": tokens, "mb": peak_mb() - before}))
asyncio.run(main())
"""


@pytest.mark.timeout(180)
def test_ten_thousand_calls_at_once_are_all_answered_in_bounded_memory_over_bounded_connections() -> None:
    with ModelServer() as server:
        command = [sys.executable, "-c", TEN_THOUSAND, server.base_url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=150)
        counted = server.counters()
    told = json.loads(done.stdout)
    assert told["right"] == counted["answered"] - 1 == 10_000
    assert told["tokens"] == counted["prompt_tokens"] + counted["completion_tokens"]
    assert counted["connections"] <= 256
    assert told["mb"] < 200
