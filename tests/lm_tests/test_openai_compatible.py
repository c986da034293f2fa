"""The direct client against the simulated server, over real HTTP."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dspex_ray.errors import ConfigurationError, LMBadReplyError, LMConnectionError, LMError
from dspex_ray.lm.base import LM, ChatMessage, LMRequest
from dspex_ray.lm.limits import LMLimits
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price
from dspex_ray.lm.retry import Timing
from dspex_ray.testing.lm_contract import KEY, CountedSleep, ask
from dspex_ray.testing.lm_load_contract import LMLoadContract
from dspex_ray.testing.model_server import ModelServer


def direct(base_url: str, *, api_key: str | None = None, max_attempts: int = 4, **more: object) -> OpenAICompatibleLM:
    settings = {"price": None, "timing": None} | more
    return OpenAICompatibleLM(
        "openai/simulated",
        wire_model="simulated",
        base_url=base_url,
        api_key=api_key,
        max_attempts=max_attempts,
        **settings,  # type: ignore[arg-type]
    )


class TestOpenAICompatible(LMLoadContract):
    def make_lm(self, server: ModelServer, *, api_key: str = KEY, timing: Timing | None = None) -> LM:
        return direct(server.base_url, api_key=api_key, timing=timing)


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """A server that sends the same bytes to everyone and closes."""

    class Raw(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Raw) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def http(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def error_of(answer: bytes, *, stream: bool = False) -> LMError:
    suite = TestOpenAICompatible()
    with raw_server(answer) as url, pytest.raises(LMError) as caught:
        (suite.chunks if stream else suite.complete)(direct(url, max_attempts=1), ask("hello"))
    return caught.value


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": ["x"]}', b""])
def test_json_without_a_message_is_a_bad_reply(body: bytes) -> None:
    error = error_of(http(body))
    assert isinstance(error, LMBadReplyError)
    assert error.raw == body.decode()


def test_only_the_beginning_of_a_bad_reply_is_kept() -> None:
    assert len(error_of(http(b"x" * 10_000)).raw) == 500


def test_what_does_not_speak_http_is_a_bad_reply() -> None:
    assert isinstance(error_of(b"220 mail.example.org ESMTP\r\n\r\n"), LMBadReplyError)


def test_a_connection_closed_without_an_answer_is_a_connection_error() -> None:
    assert isinstance(error_of(b""), LMConnectionError)


def test_a_stream_that_ends_properly_but_unfinished_is_a_connection_error() -> None:
    piece = b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n'
    error = error_of(http(piece, kind="text/event-stream"), stream=True)
    assert isinstance(error, LMConnectionError)
    assert "4 characters" in str(error)


def test_a_stream_that_names_a_finish_reason_needs_no_done() -> None:
    events = b'data: {"choices": [{"delta": {"content": "all"}, "finish_reason": "length"}]}\r\n\r\n'
    with raw_server(http(events, kind="text/event-stream")) as url:
        chunks = TestOpenAICompatible().chunks(direct(url), ask("hello"))
    assert chunks[-1].reply is not None
    assert (chunks[-1].reply.text, chunks[-1].reply.finish_reason, chunks[-1].reply.cost_usd) == ("all", "length", None)


def test_a_redirect_is_not_followed_with_the_key() -> None:
    error = error_of(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/v1\r\nContent-Length: 0\r\n\r\n")
    assert (type(error), error.status) == (LMError, 307)


def test_the_cost_is_the_price_times_the_tokens() -> None:
    with ModelServer(answer=["forty two"]) as server:
        lm = direct(server.base_url, price=Price(0.5, 2.0, 0.25))
        reply = TestOpenAICompatible().complete(lm, ask("six times seven"))
    assert reply.cost_usd == 3 * 0.5 + 2 * 2.0
    assert reply.request_id == "req-0"


@pytest.mark.parametrize(
    ("refused", "absent"), [("max_tokens", "max_tokens"), ("temperature", "temperature"), ("top_p", "temperature")]
)
def test_a_setting_the_endpoint_refuses_is_dropped_for_good(refused: str, absent: str) -> None:
    request = LMRequest(messages=(ChatMessage("user", "hello"),), max_tokens=9, temperature=0.5, top_p=0.5)
    with ModelServer(refuses={refused}) as server:
        lm = direct(server.base_url)
        suite = TestOpenAICompatible()
        assert [suite.complete(lm, request).attempts for _ in range(2)] == [2, 1]
        assert absent not in server.last_body
        assert 9 in server.last_body.values()


def test_a_stream_without_usage_is_still_read_where_stream_options_are_refused() -> None:
    with ModelServer(refuses={"stream_options"}) as server:
        chunks = TestOpenAICompatible().chunks(direct(server.base_url, price=Price(1, 1, 1)), ask("one two"))
    reply = chunks[-1].reply
    assert reply is not None
    assert (reply.text, reply.usage.total_tokens, reply.cost_usd) == ("one two", 0, None)


def test_a_400_of_another_kind_is_raised_at_once_with_its_reason() -> None:
    sleep = CountedSleep()
    with ModelServer(answer=[]) as server:
        with pytest.raises(LMError, match="script of 0 answers is used up"):
            TestOpenAICompatible().complete(direct(server.base_url, timing=sleep.timing()), ask("hello"))
        assert server.counters()["requests"] == 1
    assert sleep.asked_s == []


def test_no_more_requests_are_open_than_allowed() -> None:
    async def many(client: LM) -> None:
        await asyncio.gather(*(client.complete(ask(f"{number}")) for number in range(12)))

    with ModelServer() as server:
        TestOpenAICompatible().run(direct(server.base_url, limits=LMLimits(concurrency=3)), many)
        assert server.counters()["max_in_flight"] <= 3
        assert server.counters()["answered"] == 12


def test_one_client_serves_two_threads_with_their_own_loops() -> None:
    texts: list[str] = []
    with ModelServer() as server:
        lm = direct(server.base_url)

        def call(text: str) -> None:
            texts.append(TestOpenAICompatible().complete(lm, ask(text)).text)

        threads = [threading.Thread(target=call, args=(f"thread {n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(texts) == [f"thread {n}" for n in range(4)]


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://host/v1", "http://", "http://u:pass@host/v1", "http://h?k=1"]
)
def test_an_address_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        direct(url)
    assert "pass@" not in str(caught.value)


def test_openai_without_a_key_says_which_variable_to_set() -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        direct("https://api.openai.com/v1")


def test_no_attempt_at_all_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="max_attempts"):
        direct("http://127.0.0.1:1/v1", max_attempts=0)
    with pytest.raises(ConfigurationError, match="concurrency must be a whole number of at least 1"):
        LMLimits(concurrency=0)
