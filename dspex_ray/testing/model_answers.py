"""What a simulated model server says: the rules that make a text, and the OpenAI format around it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from dspex_ray.errors import ConfigurationError
from dspex_ray.lm.base import ChatMessage
from dspex_ray.lm.embedded import EmbeddedNearest
from dspex_ray.lm.tokens import count_prompt_tokens, count_tokens

Messages = Sequence[Mapping[str, Any]]
Rule = Callable[[Messages, Mapping[str, Any]], str]
Answer = Literal["echo", "nearest"] | Sequence[str] | Rule

_CREATED = 1_700_000_000


class RefusedRequestError(Exception):
    """A request the server answers with an error of its own; `code` and `status` are OpenAI's."""

    def __init__(self, message: str, *, status: int = 400, code: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.message, self.status, self.code = message, status, code

    def as_wire(self) -> dict[str, Any]:
        """Return the body OpenAI sends with an error."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - HTTP's own number
        return {"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}


def rule_of(answer: Answer) -> Rule:
    """Return the rule behind an answer: `echo` repeats the last user message, `nearest` is `embedded/nearest`.

    A list of texts is used up one a request, then requests are refused. Raises ConfigurationError for another word.
    """
    if callable(answer):
        return answer
    if answer == "echo":
        return _echo
    if answer == "nearest":
        return _nearest_rule()
    if isinstance(answer, str):
        msg = f"unknown answer {answer!r}; give 'echo', 'nearest', a list of texts, or a callable(messages, body)"
        raise ConfigurationError(msg)
    return _script(tuple(answer))


def prompt_tokens(messages: Messages) -> int:
    """Count the prompt's tokens by the rule of `dspex_ray.lm.tokens`."""
    return count_prompt_tokens(_typed(messages))


def checked_body(raw: bytes) -> dict[str, Any]:
    """Return the request's body. Raises RefusedRequestError when it is no chat request."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise RefusedRequestError(f"We could not parse the JSON body of your request: {error}") from error
    messages = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(messages, list) or not messages:
        raise RefusedRequestError("'messages' must be a list of at least one message.")
    if not all(isinstance(m, dict) and isinstance(m.get("content"), str) and "role" in m for m in messages):
        raise RefusedRequestError("Each message needs a role and a text content.")
    if not isinstance(body.get("model"), str):
        raise RefusedRequestError("You must provide a model parameter.")
    checked: dict[str, Any] = body
    return checked


def refuse_unsupported(body: Mapping[str, Any], refuses: frozenset[str]) -> None:
    """Raise RefusedRequestError when the request uses a part of the protocol that this server plays not to know.

    Known parts: `json_schema`, `json_object`, and top-level keys of the body such as `stream_options`, `temperature`.
    """
    kind = (body.get("response_format") or {}).get("type")
    if kind in refuses:
        raise RefusedRequestError(f"Invalid parameter: 'response_format' of type '{kind}' is not supported.")
    for name in sorted(refuses & body.keys()):
        advice = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
        message = f"Unsupported parameter: '{name}' is not supported with this model.{advice}"
        raise RefusedRequestError(message, code="unsupported_parameter")


def wrong_key() -> RefusedRequestError:
    """Return the refusal of a request whose key is not the server's."""
    return RefusedRequestError("Incorrect API key provided.", status=401, code="invalid_api_key")


def request_id_header(number: int) -> dict[str, str]:
    """Return the header that names an answer."""
    return {"x-request-id": f"req-{number}"}


def completion(number: int, body: Mapping[str, Any], text: str, ended: str = "stop") -> dict[str, Any]:
    """Return a whole reply in OpenAI's format; `ended` is its `finish_reason`."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ended, "logprobs": None}
    return _head(number, body, "chat.completion") | {"choices": [choice], "usage": usage(body, text)}


def events(number: int, body: Mapping[str, Any], text: str, ended: str = "stop") -> Iterator[dict[str, Any]]:
    """Yield a streamed reply's events: role, pieces, the reason it ended, and usage when it was asked for."""
    head = _head(number, body, "chat.completion.chunk")
    yield head | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    for piece in re.findall(r"\s*\S+|\s+", text):
        yield head | {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": ended}]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield head | {"choices": [], "usage": usage(body, text)}


def usage(body: Mapping[str, Any], text: str) -> dict[str, int]:
    """Return the true usage of an answer."""
    prompt, written = prompt_tokens(body["messages"]), count_tokens(text)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}


def _head(number: int, body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{number}", "object": kind, "created": _CREATED, "model": body["model"]}


def _echo(messages: Messages, _: Mapping[str, Any]) -> str:
    return next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")


def _nearest_rule() -> Rule:
    model = EmbeddedNearest()

    def nearest(messages: Messages, body: Mapping[str, Any]) -> str:
        asked = (body.get("response_format") or {}).get("json_schema") or {}
        return model.answer(_typed(messages), asked.get("schema"))

    return nearest


def _script(texts: tuple[str, ...]) -> Rule:
    rest = iter(texts)

    def scripted(_: Messages, __: Mapping[str, Any]) -> str:
        try:
            return next(rest)
        except StopIteration:
            raise RefusedRequestError(f"The script of {len(texts)} answers is used up.") from None

    return scripted


def _typed(messages: Messages) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(role=message["role"], content=message["content"]) for message in messages)
