"""A call that failed and is billed all the same: a reply of which a provider's filter left nothing."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from dspex_ray.calls import CallRecord, recorded_call, recording
from dspex_ray.errors import LMContentFilterError
from dspex_ray.lm.base import LM, LMReply
from dspex_ray.lm.litellm_client import LiteLLMLM
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price
from dspex_ray.lm.routing import FallbackLM
from dspex_ray.testing.lm_contract import ask
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

A_CENT = Price(prompt_usd=0.01, completion_usd=0.01, cached_usd=0.0)
WITHHELD = Weather(faults=Faults(rate_withheld=1.0))


def client(server: ModelServer, name: str) -> OpenAICompatibleLM:
    return OpenAICompatibleLM(name, wire_model="m", base_url=server.base_url, api_key=None, price=A_CENT)


def tokens(*servers: ModelServer) -> int:
    return sum(server.counters()["prompt_tokens"] + server.counters()["completion_tokens"] for server in servers)


async def answered(lm: LM) -> LMReply:
    try:
        return await lm.complete(ask("one two three"))
    finally:
        await lm.aclose()


@pytest.mark.parametrize("kind", ["direct", "litellm"])
def test_a_withheld_reply_is_recorded_as_a_failure_with_its_tokens_and_its_price(kind: str) -> None:
    async def recorded(lm: LM) -> CallRecord:
        with recording() as log:
            with pytest.raises(LMContentFilterError):
                await recorded_call(lm, ask("one two three"), "program")
            await lm.aclose()
        return log.records[0]

    with ModelServer(weather=WITHHELD) as server:
        litellm = LiteLLMLM("openai/gpt-4o-mini", base_url=server.base_url, api_key="k")
        record = asyncio.run(recorded(client(server, "vllm/m") if kind == "direct" else litellm))
        assert record.prompt_tokens + record.completion_tokens == tokens(server) > 0
    assert (record.status, record.attempts) == ("error", 1)
    assert record.cost_usd is not None
    assert record.cost_usd > 0


def test_a_reply_after_a_withheld_one_costs_both() -> None:
    with ModelServer(weather=WITHHELD) as first, ModelServer() as second:
        reply = asyncio.run(answered(FallbackLM([client(first, "vllm/a"), client(second, "vllm/b")])))
        assert reply.usage.total_tokens == tokens(first, second) > tokens(second)
    assert (reply.model, reply.attempts, reply.text) == ("vllm/b", 2, "one two three")
    assert reply.cost_usd == pytest.approx(0.01 * reply.usage.total_tokens)


def test_when_all_models_withhold_their_reply_the_error_has_the_bills_of_all_and_travels() -> None:
    with ModelServer(weather=WITHHELD) as first, ModelServer(weather=WITHHELD) as second:
        with pytest.raises(LMContentFilterError, match=r"Before it failed vllm/a") as caught:
            asyncio.run(answered(FallbackLM([client(first, "vllm/a"), client(second, "vllm/b")])))
        error = pickle.loads(pickle.dumps(caught.value))
        assert error.billed.usage.total_tokens == tokens(first, second) > 0
    assert (error.billed.model, error.attempts, str(error)) == ("vllm/b", 2, str(caught.value))
