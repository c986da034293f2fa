"""An endpoint that says nothing of its capacity: the client finds it, and every call is answered."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dspex_ray.configuration import chosen_limits, configure
from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import LMReply
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.resolve import resolve_lm
from dspex_ray.programs.model_source import ModelSource
from dspex_ray.testing.lm_contract import ask
from dspex_ray.testing.model_answers import Messages, RefusedRequestError
from dspex_ray.testing.model_faults import Weather
from dspex_ray.testing.model_server import ModelServer

CAPACITY = 20


def test_the_concurrency_settles_at_what_the_endpoint_bears_and_no_call_is_lost() -> None:
    def rule(_: Messages, __: Mapping[str, Any]) -> str:
        if server.counters()["in_flight"] > CAPACITY:
            raise RefusedRequestError("full", status=429, code="rate_limit_exceeded")
        return "x"

    async def many(lm: OpenAICompatibleLM) -> list[LMReply]:
        try:
            return await asyncio.gather(*(lm.complete(ask(f"{n}", timeout_s=50.0)) for n in range(1000)))
        finally:
            await lm.aclose()

    with ModelServer(answer=rule, weather=Weather(latency=0.02)) as server:
        lm = OpenAICompatibleLM("vllm/m", wire_model="m", base_url=server.base_url, api_key=None, price=None)
        replies = asyncio.run(many(lm))
        by_status = server.counters()["by_status"]
    assert len(replies) == by_status["200"] == 1000
    # 256 at first, cut by 0.7 a round: some 700 refusals until they fit, then next to none
    assert by_status["429"] <= 1200


@pytest.fixture
def restored() -> Iterator[None]:
    yield
    configure(limits=None, lm=None)


@pytest.mark.usefixtures("restored")
def test_limits_configured_hold_for_programs_without_their_own_and_travel_with_them() -> None:
    own, everyones = LMLimits(concurrency=1), LMLimits(requests_per_minute=500)
    configure(limits=everyones)
    assert (chosen_limits(), chosen_limits(own)) == (everyones, own)
    settled = pickle.loads(pickle.dumps(ModelSource("ollama/a").settled()))
    configure(limits=None)
    assert (settled.limits, chosen_limits()) == (everyones, None)


@pytest.mark.usefixtures("restored")
def test_a_change_of_limits_makes_a_new_client() -> None:
    source = ModelSource("ollama/a")
    first = source.client()
    assert source.client() is first
    configure(limits=LMLimits(concurrency=3))
    assert source.client() is not first


def test_a_client_made_from_a_name_opens_no_more_requests_than_its_limits_say() -> None:
    async def many() -> None:
        lm = resolve_lm("openai/m", base_url=server.base_url, limits=LMLimits(concurrency=2))
        await asyncio.gather(*(lm.complete(ask(f"{n}")) for n in range(20)))
        await lm.aclose()

    with ModelServer(weather=Weather(latency=0.005)) as server:
        asyncio.run(many())
        assert server.counters()["max_in_flight"] == 2


def test_limits_of_another_kind_are_refused_and_nothing_is_set() -> None:
    with pytest.raises(ConfigurationError, match="limits must be LMLimits"):
        configure(lm="ollama/a", limits=500)  # type: ignore[arg-type]  # that is the test
    assert chosen_limits() is None
