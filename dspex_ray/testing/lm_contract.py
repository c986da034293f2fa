"""The contract of every language-model client, as a suite: subclass it, name the client, and pytest runs it.

Each test talks to a `ModelServer` over real HTTP. Needs pytest; nothing else in the package imports this module.
"""
# ruff: noqa: S101, PLR2004, D102 - a contract suite is asserts on literal expectations under names that are sentences

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import pickle
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from dspex_ray.errors import (
    LMAuthError,
    LMBadReplyError,
    LMConnectionError,
    LMContextWindowError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)
from dspex_ray.lm.base import LM, ChatMessage, LMChunk, LMReply, LMRequest
from dspex_ray.lm.retry import Timing
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

_T = TypeVar("_T")
_ROLLOUTS = itertools.count(1)
KEY = "the-right-key"
LABEL_SCHEMA = {"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}


class CountedSleep:
    """A sleep that passes at once and remembers how long it was asked to be."""

    def __init__(self) -> None:
        self.asked_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked_s.append(seconds)
        await asyncio.sleep(0)

    def timing(self) -> Timing:
        """Return a timing with this sleep and a seeded generator."""
        return Timing(sleep=self, rng=random.Random(7))  # noqa: S311 - jitter, not secrecy


def ask(text: str, *, timeout_s: float = 20.0) -> LMRequest:
    """Return a request of one user message, which no cache has seen before."""
    return LMRequest(messages=(ChatMessage("user", text),), timeout_s=timeout_s, rollout_id=next(_ROLLOUTS))


class LMContract(ABC):
    """What `dspex_ray.lm.base.LM` promises. `make_lm` returns a client of four attempts for a server."""

    @abstractmethod
    def make_lm(self, server: ModelServer, *, api_key: str = KEY, timing: Timing | None = None) -> LM:
        """Return the client under test, aimed at `server.base_url`; `timing` replaces its waiting and its chance."""

    def run(self, lm: LM, use: Callable[[LM], Awaitable[_T]]) -> _T:
        """Use the client on a loop of its own and close it there."""

        async def use_and_close() -> _T:
            try:
                return await use(lm)
            finally:
                await lm.aclose()

        return asyncio.run(use_and_close())

    def complete(self, lm: LM, request: LMRequest) -> LMReply:
        """Return the client's whole reply."""
        return self.run(lm, lambda client: client.complete(request))

    def chunks(self, lm: LM, request: LMRequest, into: list[LMChunk] | None = None) -> list[LMChunk]:
        """Return the client's streamed chunks; those before an error are left in `into`."""
        kept = [] if into is None else into

        async def collect(client: LM) -> list[LMChunk]:
            async for chunk in client.stream(request):
                kept.append(chunk)
            return kept

        return self.run(lm, collect)

    def test_it_is_an_lm(self) -> None:
        with ModelServer() as server:
            assert isinstance(self.make_lm(server), LM)

    def test_a_reply_carries_the_text_and_the_usage_the_server_counted(self) -> None:
        with ModelServer(answer=["forty two"]) as server:
            reply = self.complete(self.make_lm(server), ask("What is six times seven?"))
            counted = server.counters()
        assert reply.text == "forty two"
        assert reply.usage.prompt_tokens == counted["prompt_tokens"] > 0
        assert reply.usage.completion_tokens == counted["completion_tokens"] == 2
        assert (reply.attempts, reply.finish_reason, reply.latency_s > 0) == (1, "stop", True)
        assert counted["requests"] == counted["answered"] == 1

    def test_every_setting_of_a_request_reaches_the_server(self) -> None:
        request = LMRequest(
            messages=(ChatMessage("system", "Be brief."), ChatMessage("user", "Ja?")),
            temperature=0.3,
            top_p=0.9,
            max_tokens=17,
            stop=("END",),
            seed=5,
            response_schema=LABEL_SCHEMA,
        )
        with ModelServer() as server:
            self.complete(self.make_lm(server), request)
            body = server.last_body
        assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ja?"}]
        assert [body[k] for k in ("temperature", "top_p", "max_tokens", "seed")] == [0.3, 0.9, 17, 5]
        assert body["stop"] == ["END"]
        assert body["response_format"]["json_schema"]["schema"]["properties"] == LABEL_SCHEMA["properties"]

    def test_a_429_is_retried_after_the_time_the_server_names(self) -> None:
        sleep = CountedSleep()
        with ModelServer(weather=Weather(script=["429"], faults=Faults(retry_after_s=3))) as server:
            reply = self.complete(self.make_lm(server, timing=sleep.timing()), ask("hello"))
        assert (reply.text, reply.attempts) == ("hello", 2)
        assert len(sleep.asked_s) == 1
        assert 3.0 <= sleep.asked_s[0] <= 3.3

    def test_a_429_to_the_last_attempt_is_a_rate_limit_error(self) -> None:
        with ModelServer(weather=Weather(faults=Faults(rate_429=1, retry_after_s=0.01))) as server:
            with pytest.raises(LMRateLimitError) as caught:
                self.complete(self.make_lm(server, timing=CountedSleep().timing()), ask("hello"))
            assert server.counters()["by_status"] == {"429": 4}
        assert (caught.value.attempts, caught.value.status, caught.value.retryable) == (4, 429, True)
        assert caught.value.retry_after_s == 0.01

    def test_a_wait_beyond_the_timeout_is_not_begun(self) -> None:
        sleep = CountedSleep()
        with ModelServer(weather=Weather(faults=Faults(rate_429=1, retry_after_s=60))) as server:
            with pytest.raises(LMRateLimitError, match="429"):
                self.complete(self.make_lm(server, timing=sleep.timing()), ask("hello", timeout_s=10))
            assert server.counters()["requests"] == 1
        assert sleep.asked_s == []

    def test_a_500_is_retried_after_random_waits_of_growing_bounds(self) -> None:
        sleep = CountedSleep()
        with ModelServer(weather=Weather(script=["500", "500", "500"])) as server:
            reply = self.complete(self.make_lm(server, timing=sleep.timing()), ask("hello"))
        assert (reply.text, reply.attempts) == ("hello", 4)
        assert all(0 < waited <= 0.5 * 2**i for i, waited in enumerate(sleep.asked_s))

    def test_a_500_to_the_last_attempt_is_a_server_error(self) -> None:
        with (
            ModelServer(weather=Weather(faults=Faults(rate_500=1))) as server,
            pytest.raises(LMServerError, match="500") as caught,
        ):
            self.complete(self.make_lm(server, timing=CountedSleep().timing()), ask("hello"))
        assert caught.value.attempts == 4

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_server_that_hangs_is_a_timeout_error_within_the_timeout(self, stream: bool) -> None:  # noqa: FBT001 - pytest passes it
        with ModelServer(weather=Weather(script=["ok", "hang"])) as server:
            lm = self.make_lm(server)
            self.complete(lm, ask("warm up: the first call may import a library"))
            started = time.monotonic()
            with pytest.raises(LMTimeoutError):
                (self.chunks if stream else self.complete)(lm, ask("hello", timeout_s=0.2))
            assert 0.15 <= time.monotonic() - started < 3.0

    def test_a_connection_cut_in_a_whole_reply_is_retried_then_a_connection_error(self) -> None:
        with ModelServer(weather=Weather(script=["cut", "ok", "cut", "cut", "cut", "cut"])) as server:
            lm = self.make_lm(server, timing=CountedSleep().timing())
            assert self.complete(lm, ask("hello")).attempts == 2
            with pytest.raises(LMConnectionError):
                self.complete(lm, ask("hello"))
            assert server.counters()["requests"] == 6

    def test_a_stream_cut_in_the_middle_is_a_connection_error_and_never_a_short_reply(self) -> None:
        came: list[LMChunk] = []
        with ModelServer(weather=Weather(script=["cut"])) as server, pytest.raises(LMConnectionError) as caught:
            self.chunks(self.make_lm(server), ask("one two three four"), into=came)
        assert caught.value.retryable
        assert all(chunk.reply is None for chunk in came)

    def test_malformed_json_is_a_bad_reply_after_the_last_attempt(self) -> None:
        with ModelServer(weather=Weather(faults=Faults(rate_malformed=1))) as server:
            with pytest.raises(LMBadReplyError) as caught:
                self.complete(self.make_lm(server, timing=CountedSleep().timing()), ask("hello"))
            assert server.counters()["requests"] == 4
        assert caught.value.raw
        assert caught.value.attempts == 4

    def test_malformed_json_in_a_stream_is_a_bad_reply(self) -> None:
        with ModelServer(weather=Weather(script=["malformed"])) as server, pytest.raises(LMBadReplyError):
            self.chunks(self.make_lm(server), ask("one two three"))

    def test_streamed_pieces_concatenate_to_the_whole_reply(self) -> None:
        text = "Ein Satz, zwei Zeilen\nund  ein Umlaut: ü 漢字."
        with ModelServer(answer=[text]) as server:
            chunks = self.chunks(self.make_lm(server), ask("stream, please"))
            counted = server.counters()
        reply = chunks[-1].reply
        assert reply is not None
        assert "".join(chunk.delta for chunk in chunks) == reply.text == text
        assert len(chunks) > 3
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (
            counted["prompt_tokens"],
            counted["completion_tokens"],
        )

    def test_a_stream_that_is_refused_at_first_is_retried(self) -> None:
        with ModelServer(weather=Weather(script=["429", "500"], faults=Faults(retry_after_s=1))) as server:
            chunks = self.chunks(self.make_lm(server, timing=CountedSleep().timing()), ask("one two"))
        assert chunks[-1].reply is not None
        assert (chunks[-1].reply.text, chunks[-1].reply.attempts) == ("one two", 3)

    def test_a_wrong_key_is_an_auth_error_without_a_retry_and_without_the_key(self) -> None:
        with ModelServer(api_key=KEY) as server:
            assert self.complete(self.make_lm(server), ask("hello")).text == "hello"
            with pytest.raises(LMAuthError) as caught:
                self.complete(self.make_lm(server, api_key="a-wrong-key"), ask("hello"))
            assert server.counters()["by_status"] == {"200": 1, "401": 1}
        assert "a-wrong-key" not in str(caught.value)

    def test_a_prompt_that_does_not_fit_is_a_context_window_error(self) -> None:
        with ModelServer(context_window=3) as server:
            with pytest.raises(LMContextWindowError, match="context"):
                self.complete(self.make_lm(server), ask("this prompt has too many words"))
            assert server.counters()["requests"] == 1

    def test_a_refused_connection_names_the_address(self) -> None:
        with ModelServer() as server:
            lm = self.make_lm(server, timing=CountedSleep().timing())
        with pytest.raises(LMConnectionError, match=server.base_url) as caught:
            self.complete(lm, ask("hello"))
        assert caught.value.attempts == 4

    def test_a_schema_the_endpoint_refuses_is_left_out(self) -> None:
        request = LMRequest(messages=(ChatMessage("user", "hello"),), response_schema=LABEL_SCHEMA)
        with ModelServer(refuses={"json_schema", "json_object"}) as server:
            lm = self.make_lm(server)
            assert self.complete(lm, request).text == "hello"
            asked_before = server.counters()["requests"]
            assert self.complete(lm, dataclasses.replace(request, rollout_id=1)).attempts == 1
            assert server.counters()["requests"] == asked_before + 1
            assert "response_format" not in server.last_body

    def test_it_pickles_and_still_answers_on_another_loop(self) -> None:
        with ModelServer() as server:
            lm = self.make_lm(server)
            assert self.complete(lm, ask("one")).text == "one"
            copy: LM = pickle.loads(pickle.dumps(lm))  # noqa: S301 - our own bytes
            assert copy.model == lm.model
            assert self.complete(copy, ask("two")).text == "two"
            assert self.complete(lm, ask("three")).text == "three"

    def test_its_repr_hides_the_key(self) -> None:
        with ModelServer() as server:
            assert KEY not in repr(self.make_lm(server))

    def test_many_calls_at_once_each_get_their_own_answer(self) -> None:
        questions = [f"question {number}" for number in range(40)]

        async def together(client: LM) -> list[LMReply]:
            return await asyncio.gather(*(client.complete(ask(question)) for question in questions))

        with ModelServer(weather=Weather(latency=0.05)) as server:
            replies = self.run(self.make_lm(server), together)
            assert server.counters()["max_in_flight"] > 10
        assert [reply.text for reply in replies] == questions

    def test_closing_twice_is_harmless(self) -> None:
        async def close_twice(client: LM) -> None:
            await client.complete(ask("hello"))
            await client.aclose()
            await client.aclose()

        with ModelServer() as server:
            self.run(self.make_lm(server), close_twice)
