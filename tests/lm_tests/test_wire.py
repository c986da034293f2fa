"""The wire format read from bytes: events however they are cut, errors of every provider's shape, prices."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspex_ray import errors
from dspex_ray.errors import LMBadReplyError, LMError
from dspex_ray.lm.base import ChatMessage, LMRequest, Usage
from dspex_ray.lm.dialect import Dialect
from dspex_ray.lm.prices import Price, context_window_of, known_models, known_providers, price_of
from dspex_ray.lm.wire import EventReader, WireReply, add_event, error_answer, read_completion

STREAM = ': comment\r\ndata: {"a": "ü"}\r\n\r\nevent: x\ndata: one\ndata: two\n\ndata:[DONE]\n\n'.encode()


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.integers(0, len(STREAM))))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader("m")
    found = [event for a, b in itertools.pairwise(places) for event in reader.feed(STREAM[a:b])]
    assert found == ['{"a": "ü"}', "one\ntwo", "[DONE]"]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(LMBadReplyError, match="more than"):
        list(EventReader("m").feed(b"x" * (5 << 20)))


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary())
def test_any_bytes_are_a_reply_or_a_bad_reply(raw: bytes) -> None:
    with pytest.raises(LMBadReplyError):
        read_completion(raw, "m")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["choices", "delta", "content", "usage", "error"]), inner)
    ),
)


@settings(deadline=None)  # a busy machine is no failure
@given(JSON)
def test_any_event_is_read_or_refused_with_our_errors(event: Any) -> None:
    try:
        assert isinstance(add_event(WireReply(), json.dumps(event), "m"), str)
    except LMError as error:
        assert error.message  # noqa: PT017 - either outcome is right, no third


def test_refusals_and_text_parts_are_read_as_text() -> None:
    def text_of(message: dict[str, Any]) -> str:
        return read_completion(json.dumps({"choices": [{"message": message}]}).encode(), "m").text

    assert text_of({"content": None, "refusal": "I must not"}) == "I must not"
    assert text_of({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}) == "ab"
    assert text_of({"content": None, "tool_calls": []}) == ""


def test_cached_tokens_are_read_and_billed_at_their_rate() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    raw = json.dumps({"choices": [{"message": {"content": ""}}], "usage": usage}).encode()
    read = read_completion(raw, "m").usage
    assert read == Usage(prompt_tokens=10, completion_tokens=2, cached_tokens=4)
    assert Price(1.0, 10.0, 0.5).cost_usd(read) == 6 + 2 + 20


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"message": "no"}}, "LMAuthError"),
        (403, {"detail": "no"}, "LMAuthError"),
        (402, {}, "LMAuthError"),
        (429, {"error": {"code": "rate_limit_exceeded"}}, "LMRateLimitError"),
        (429, {"error": {"code": "insufficient_quota"}}, "LMAuthError"),
        (408, "", "LMTimeoutError"),
        (504, "<html>", "LMTimeoutError"),
        (500, {"error": "plain text"}, "LMServerError"),
        (529, [], "LMServerError"),
        (400, {"error": {"code": "context_length_exceeded", "message": "x"}}, "LMContextWindowError"),
        (400, {"message": "This model's maximum context length is 4096 tokens"}, "LMContextWindowError"),
        (400, {"error": {"type": "exceed_context_size_error"}}, "LMContextWindowError"),
        (413, "", "LMContextWindowError"),
        (400, {"error": {"message": "bad temperature"}}, "LMError"),
        (404, {"error": {"message": "no such model"}}, "LMError"),
    ],
)
def test_each_status_has_its_error(status: int, body: Any, kind: str) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = error_answer(status, raw, {}, "the model")
    assert type(error) is getattr(errors, kind)
    assert error.status == status
    assert str(error).startswith(f"the model answered {status}: ")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "0.5", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert error_answer(429, b"", headers, "m").retry_after_s == seconds


def test_a_dialect_gives_up_one_thing_at_a_time_and_never_for_nothing() -> None:
    request = LMRequest(messages=(ChatMessage("user", "x"),), response_schema={"type": "object"}, temperature=3.0)
    first = Dialect().after_refusal("'response_format' is not supported", request)
    assert first == Dialect(response_format="json_object")
    assert first.after_refusal("response_format", request) == Dialect(response_format="none")
    assert Dialect(response_format="none").after_refusal("response_format", request) is None
    assert Dialect().after_refusal("temperature must be at most 2", request) is None
    plain = LMRequest(messages=request.messages)
    assert Dialect().after_refusal("response_format, temperature unsupported", plain) is None


def test_prices_come_from_the_bundled_table() -> None:
    price = price_of("openai/gpt-4o-mini")
    assert price == price_of("gpt-4o-mini")
    assert price is not None
    assert 0 < price.cached_usd < price.prompt_usd < price.completion_usd < 1e-5
    assert context_window_of("openai/gpt-4o-mini") == 128_000
    assert price_of("anthropic/gpt-4o-mini") is None
    assert price_of("openai/no-such-model") is None
    assert context_window_of("vllm/mine") is None
    assert len(known_models()) > 1000
    assert {"openai", "anthropic", "bedrock", "gemini", "openrouter"} <= known_providers()
