"""The contract of language-model clients under load and bad weather: slow bodies, storms, calls given up.

Subclass `LMLoadContract` instead of `LMContract` to hold a client to both.
"""
# ruff: noqa: S101, PLR2004, D102 - a contract suite is asserts on literal expectations under names that are sentences

from __future__ import annotations

import asyncio
import time

import pytest

from dspex_ray.errors import LMBadReplyError, LMContentFilterError, LMError, LMRateLimitError, LMTimeoutError
from dspex_ray.lm.base import LM, LMReply, LMRequest
from dspex_ray.testing.lm_contract import CountedSleep, LMContract, ask
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

_PATIENCE_S = 10.0


async def until_abandoned(server: ModelServer, requests: int = 1) -> None:
    """Wait until the server has noticed that so many clients left."""
    deadline = time.monotonic() + _PATIENCE_S
    while server.counters()["abandoned"] < requests:
        assert time.monotonic() < deadline, f"the request stayed open: {server.counters()}"
        await asyncio.sleep(0.01)


async def read_all(client: LM, request: LMRequest) -> None:
    """Read a stream to its end."""
    async for _ in client.stream(request):
        pass


class LMLoadContract(LMContract):
    """What `dspex_ray.lm.base.LM` promises when many call, the endpoint is slow, or the caller goes."""

    calls_at_once = 500
    hang_timeout_s = 0.5
    """The timeout of calls that hang; long enough for a client's pool to have sent its requests."""

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_body_that_comes_in_pieces_is_read_whole(self, stream: bool) -> None:  # noqa: FBT001 - pytest passes it
        text = "piece by piece, with an umlaut ü and 漢字"
        with ModelServer(answer=[text], weather=Weather(script=["slow"], faults=Faults(slow_s=0.2))) as server:
            lm = self.make_lm(server)
            reply = self.chunks(lm, ask("slowly"))[-1].reply if stream else self.complete(lm, ask("slowly"))
        assert reply is not None
        assert (reply.text, reply.attempts) == (text, 1)

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_body_too_slow_for_the_timeout_is_a_timeout_error_and_the_request_is_closed(self, stream: bool) -> None:  # noqa: FBT001 - pytest passes it
        with ModelServer(weather=Weather(script=["ok", "slow"], faults=Faults(slow_s=60))) as server:
            lm = self.make_lm(server)
            self.complete(lm, ask("warm up: the first call may import a library"))

            async def too_slow(client: LM) -> None:
                request = ask("one two three", timeout_s=1.0)
                with pytest.raises(LMTimeoutError):
                    await (read_all(client, request) if stream else client.complete(request))
                await until_abandoned(server)

            self.run(lm, too_slow)

    def test_a_call_that_is_cancelled_closes_its_request(self) -> None:
        async def give_up(client: LM) -> None:
            await client.complete(ask("warm up"))
            call = asyncio.ensure_future(client.complete(ask("never")))
            deadline = time.monotonic() + _PATIENCE_S
            while server.counters()["requests"] < 2:
                assert time.monotonic() < deadline, "the request did not arrive"
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            await until_abandoned(server)
            assert (await client.complete(ask("again"))).text == "again"

        with ModelServer(weather=Weather(script=["ok", "hang"])) as server:
            self.run(self.make_lm(server), give_up)

    @pytest.mark.parametrize("stream", [False, True])
    def test_wrong_usage_is_never_taken_for_tokens_or_money(self, stream: bool) -> None:  # noqa: FBT001 - pytest passes it
        with ModelServer(weather=Weather(script=["wrong_usage"])) as server:
            lm = self.make_lm(server, timing=CountedSleep().timing())
            try:
                reply = self.chunks(lm, ask("hello"))[-1].reply if stream else self.complete(lm, ask("hello"))
            except LMBadReplyError:
                return
        assert reply is not None
        if reply.attempts == 1:
            assert (reply.text, reply.usage.total_tokens, reply.cost_usd) == ("hello", 0, None)
        else:  # refused as malformed, and asked again
            assert reply.usage.total_tokens == server.counters()["prompt_tokens"] // 2 * 2

    def test_a_filtered_prompt_is_a_content_filter_error_without_a_retry(self) -> None:
        with ModelServer(weather=Weather(script=["filtered"])) as server:
            with pytest.raises(LMContentFilterError) as caught:
                self.complete(self.make_lm(server), ask("hello"))
            assert server.counters()["requests"] == 1
        assert not caught.value.retryable

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_reply_of_which_the_filter_left_nothing_is_an_error_that_carries_its_bill(self, stream: bool) -> None:  # noqa: FBT001 - pytest passes it
        with ModelServer(weather=Weather(script=["withheld"])) as server:
            with pytest.raises(LMContentFilterError, match="withheld the whole reply") as caught:
                (self.chunks if stream else self.complete)(self.make_lm(server), ask("hello"))
            counted = server.counters()
        assert caught.value.billed is not None
        assert caught.value.billed.usage.total_tokens == counted["prompt_tokens"] > 0
        assert caught.value.attempts == counted["requests"] == 1

    def test_json_that_is_no_completion_is_a_bad_reply(self) -> None:
        with (
            ModelServer(weather=Weather(faults=Faults(rate_no_choices=1))) as server,
            pytest.raises(LMBadReplyError) as caught,
        ):
            self.complete(self.make_lm(server, timing=CountedSleep().timing()), ask("hello"))
        assert caught.value.raw

    def test_in_a_429_storm_every_call_is_answered_and_each_token_counted_once(self) -> None:
        async def storm(client: LM) -> list[LMReply]:
            return await asyncio.gather(*(client.complete(ask(f"question {number}")) for number in range(100)))

        weather = Weather(seed=2, latency=0.01, faults=Faults(rate_429=0.3, retry_after_s=0.05))
        with ModelServer(weather=weather) as server:
            lm = self.make_lm(server)
            replies = self.run(lm, storm)
            counted = server.counters()
        assert [reply.text for reply in replies] == [f"question {number}" for number in range(100)]
        assert sum(reply.attempts for reply in replies) == counted["requests"] == 100 + counted["by_status"]["429"]
        assert sum(reply.usage.prompt_tokens for reply in replies) == counted["prompt_tokens"]
        assert sum(reply.usage.completion_tokens for reply in replies) == counted["completion_tokens"]

    def test_a_storm_without_a_time_to_wait_loses_no_call_and_counts_each_attempt(self) -> None:
        async def storm(client: LM) -> list[LMReply | BaseException]:
            calls = (client.complete(ask(f"question {number}")) for number in range(100))
            return await asyncio.gather(*calls, return_exceptions=True)

        weather = Weather(seed=3, faults=Faults(rate_429=0.3, retry_after_s=None))
        with ModelServer(weather=weather) as server:
            ended = self.run(self.make_lm(server, timing=CountedSleep().timing()), storm)
            counted = server.counters()
        assert all(isinstance(end, LMReply | LMRateLimitError) for end in ended)
        assert sum(end.attempts for end in ended if isinstance(end, LMReply | LMError)) == counted["requests"]
        assert sum(isinstance(end, LMReply) for end in ended) == counted["answered"] > 90

    def test_calls_that_wait_behind_those_that_hang_end_at_their_timeout_too(self) -> None:
        async def all_hang(client: LM) -> list[BaseException | LMReply]:
            await client.complete(ask("warm up: the first call may import a library"))
            calls = (
                client.complete(ask(f"{number}", timeout_s=self.hang_timeout_s)) for number in range(self.calls_at_once)
            )
            return await asyncio.gather(*calls, return_exceptions=True)

        weather = Weather(script=["ok"], faults=Faults(rate_hang=1.0))
        with ModelServer(weather=weather) as server:
            started = time.monotonic()
            ended = self.run(self.make_lm(server), all_hang)
            took_s = time.monotonic() - started
            counted = server.counters()
        assert {type(end) for end in ended} == {LMTimeoutError}
        assert took_s < 10.0
        assert counted["max_in_flight"] <= 512

    def test_in_all_weathers_the_tokens_of_the_replies_are_those_of_the_server(self) -> None:
        faults = Faults(
            rate_429=0.1, rate_500=0.1, rate_cut=0.1, rate_malformed=0.1, rate_slow=0.1, retry_after_s=0.01, slow_s=0.05
        )

        async def storm(client: LM) -> list[LMReply | BaseException]:
            calls = (client.complete(ask(f"question {number}")) for number in range(100))
            return await asyncio.gather(*calls, return_exceptions=True)

        with ModelServer(weather=Weather(seed=5, faults=faults)) as server:
            ended = self.run(self.make_lm(server, timing=CountedSleep().timing()), storm)
            counted = server.counters()
        replies = [reply for reply in ended if isinstance(reply, LMReply)]
        assert all(isinstance(end, LMReply | LMError) for end in ended)
        assert len(replies) == counted["answered"] > 80
        assert sum(reply.usage.total_tokens for reply in replies) == (
            counted["prompt_tokens"] + counted["completion_tokens"]
        )

    def test_very_many_calls_at_once_each_get_their_own_answer(self) -> None:
        questions = [f"question {number}" for number in range(self.calls_at_once)]

        async def together(client: LM) -> list[LMReply]:
            return await asyncio.gather(*(client.complete(ask(text, timeout_s=120.0)) for text in questions))

        with ModelServer() as server:
            replies = self.run(self.make_lm(server), together)
            assert server.counters()["connections"] <= 512
        assert [reply.text for reply in replies] == questions
        assert {reply.attempts for reply in replies} == {1}
