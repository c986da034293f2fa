"""The error bodies of providers, as they send them, and the class of error each becomes."""
# ruff: noqa: E501 - a row of the table is a line

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_ray import errors
from dspex_ray.errors import LMError
from dspex_ray.lm.classification import classify, complaint_of
from dspex_ray.lm.wire import error_answer

_RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}
_BAD_KEY_INFO = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def vllm(code: int, kind: str, message: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


TABLE = [
    # OpenAI and Azure
    (401, openai("Incorrect API key provided: sk-x.", "invalid_api_key"), "LMAuthError"),
    (403, openai("Project does not have access to model", "model_not_found"), "LMAuthError"),
    (404, openai("The model `gpt-9` does not exist", "model_not_found"), "LMError"),
    (429, openai("Rate limit reached for gpt-4o on tokens per min (TPM)", "rate_limit_exceeded", "tokens"), "LMRateLimitError"),
    (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), "LMAuthError"),
    (400, openai("maximum context length is 8192 tokens", "context_length_exceeded"), "LMContextWindowError"),
    (400, openai("Your request was rejected as a result of our safety system", "content_policy_violation"), "LMContentFilterError"),
    (400, openai("The response was filtered due to the prompt triggering Azure's content management policy", "content_filter"), "LMContentFilterError"),
    (400, {"error": {"code": "BadRequest", "message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, "LMContentFilterError"),
    (400, openai("Invalid value for 'temperature'", "invalid_value"), "LMError"),
    (500, openai("The server had an error", None, "server_error"), "LMServerError"),
    (503, openai("The engine is currently overloaded", None, "server_error"), "LMServerError"),
    (409, openai("Conflict"), "LMServerError"),
    # Anthropic
    (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), "LMContextWindowError"),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API"), "LMAuthError"),
    (400, anthropic("invalid_request_error", "Output blocked by content filtering policy"), "LMContentFilterError"),
    (400, anthropic("invalid_request_error", "messages: at least one message is required"), "LMError"),
    (401, anthropic("authentication_error", "invalid x-api-key"), "LMAuthError"),
    (402, anthropic("billing_error", "payment required"), "LMAuthError"),
    (403, anthropic("permission_error", "no access"), "LMAuthError"),
    (404, anthropic("not_found_error", "model: claude-x"), "LMError"),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), "LMContextWindowError"),
    (429, anthropic("rate_limit_error", "Number of request tokens has exceeded your per-minute rate limit"), "LMRateLimitError"),
    (500, anthropic("api_error", "Internal server error"), "LMServerError"),
    (504, anthropic("timeout_error", "timed out"), "LMTimeoutError"),
    (529, anthropic("overloaded_error", "Overloaded"), "LMServerError"),
    # Google, its OpenAI-compatible endpoint included (a list of one)
    (400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", _BAD_KEY_INFO), "LMAuthError"),
    (400, google(400, "INVALID_ARGUMENT", "The input token count (1091639) exceeds the maximum number of tokens allowed (1048576)."), "LMContextWindowError"),
    (400, google(400, "INVALID_ARGUMENT", "Request contains an invalid argument."), "LMError"),
    (403, google(403, "PERMISSION_DENIED", "denied"), "LMAuthError"),
    (429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing", _RETRY_INFO), "LMRateLimitError"),
    (429, [google(429, "RESOURCE_EXHAUSTED", "Resource exhausted")], "LMRateLimitError"),
    (400, google(400, "INVALID_ARGUMENT", "The prompt was blocked due to safety: PROHIBITED_CONTENT"), "LMContentFilterError"),
    (503, google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), "LMServerError"),
    (504, google(504, "DEADLINE_EXCEEDED", "Deadline expired"), "LMTimeoutError"),
    # vLLM, of both shapes
    (400, vllm(400, "BadRequestError", "This model's maximum context length is 4096 tokens. However, you requested 5000"), "LMContextWindowError"),
    (400, {"error": vllm(400, "BadRequestError", "The prompt (length 9) is longer than the maximum model length of 8")}, "LMContextWindowError"),
    (404, vllm(404, "NotFoundError", "The model `x` does not exist."), "LMError"),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "LMError"),
    # Ollama and llama.cpp
    (404, {"error": "model 'llama9' not found"}, "LMError"),
    (404, openai('model "llama9" not found, try pulling it first', None, "api_error"), "LMError"),
    (400, {"error": "input length exceeds the context length"}, "LMContextWindowError"),
    (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}, "LMServerError"),
    (500, {"error": "llama runner process has terminated"}, "LMServerError"),
    (400, {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error"}}, "LMContextWindowError"),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, "LMServerError"),
    # a gateway that says nothing in JSON
    (502, "<html><h1>502 Bad Gateway</h1></html>", "LMServerError"),
    (504, "upstream request timeout", "LMTimeoutError"),
    (429, "", "LMRateLimitError"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), TABLE)
def test_each_answer_has_its_error(status: int, body: Any, kind: str) -> None:
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    error = error_answer(status, raw, {}, "the model")
    assert type(error).__name__ == kind
    assert (error.status, str(error).startswith(f"the model answered {status}: ")) == (status, True)


def test_the_time_google_names_in_the_body_is_when_to_ask_again() -> None:
    raw = json.dumps(google(429, "RESOURCE_EXHAUSTED", "slow down", _RETRY_INFO)).encode()
    assert error_answer(429, raw, {}, "m").retry_after_s == 34.5
    assert error_answer(429, raw, {"Retry-After": "2"}, "m").retry_after_s == 2.0


@given(st.integers(300, 599), st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "message", "code", "details", "innererror"]), inner),
).map(lambda body: json.dumps(body).encode()))  # fmt: skip
def test_any_body_whatsoever_is_one_of_our_errors(status: int, raw: bytes) -> None:
    assert issubclass(classify(status, complaint_of(raw)).kind, LMError)


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    kinds = {classify(status, complaint_of(json.dumps(body).encode())).kind for status, body, _ in TABLE}
    assert {kind.__name__ for kind in kinds if kind.retryable} == {
        "LMRateLimitError",
        "LMServerError",
        "LMTimeoutError",
    }


def test_a_content_filter_error_survives_pickling() -> None:
    error = error_answer(400, b'{"error": {"code": "content_filter", "message": "no"}}', {}, "m")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, errors.LMContentFilterError)
    assert (copy.message, copy.status) == (error.message, 400)
