"""The OpenAI chat format read: whole replies, streamed replies and error answers, without I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from dspex_ray.errors import LMBadReplyError, LMContentFilterError, LMError
from dspex_ray.lm.base import LMReply, Usage
from dspex_ray.lm.classification import KEPT, classify, complaint_of
from dspex_ray.lm.rate_headers import retry_after_s

_LONGEST_EVENT = 4 << 20
_FILTERED = "content_filter"


@dataclass(slots=True)
class WireReply:
    """A reply as it grows: `usage` stays None until the endpoint reports it; `done` once it says it has ended."""

    parts: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None
    request_id: str | None = None
    done: bool = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.parts)


def read_completion(raw: bytes, what: str) -> WireReply:
    """Read the body of a whole reply. Raises LMBadReplyError naming `what` for anything but a chat completion."""
    body = _json_object(raw, what)
    choice = _first_choice(body)
    message = choice.get("message") if choice else None
    if choice is None or not isinstance(message, Mapping):
        raise bad_reply(f"{what} answered JSON without choices[0].message", raw)
    reply = WireReply(usage=usage_of(body.get("usage")), request_id=_text_or_none(body.get("id")), done=True)
    reply.parts.append(_content(message.get("content")) or _content(message.get("refusal")))
    reply.finish_reason = _text_or_none(choice.get("finish_reason"))
    return reply


def add_event(reply: WireReply, data: str, what: str) -> str:
    """Add one server-sent event to a streamed reply and return the new piece of text, often empty.

    Raises LMBadReplyError for data that is no JSON object, and the matching LMError for an error event.
    """
    if data.strip() == "[DONE]":
        reply.done = True
        return ""
    raw = data.encode("utf-8", "surrogatepass")
    event = _json_object(raw, what)
    if event.get("error"):
        raise error_answer(_status_of(event["error"]), raw, {}, what)
    reply.usage = usage_of(event.get("usage")) or reply.usage
    reply.request_id = reply.request_id or _text_or_none(event.get("id"))
    choice = _first_choice(event)
    if choice is None:
        return ""
    reply.finish_reason = _text_or_none(choice.get("finish_reason")) or reply.finish_reason
    delta = choice.get("delta")
    piece = _content(delta.get("content")) or _content(delta.get("refusal")) if isinstance(delta, Mapping) else ""
    if piece:
        reply.parts.append(piece)
    return piece


class EventReader:
    """Server-sent events out of the bytes of a stream, however they are cut (HTML standard, section 9.2)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the data of each event that `chunk` completes. Raises LMBadReplyError for an endless line."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_EVENT:
            raise bad_reply(f"{self._what} streamed a line of more than {_LONGEST_EVENT} bytes", self._rest)
        for raw in lines:
            line = raw.removesuffix(b"\r").decode("utf-8", "replace")
            if line.startswith("data:"):
                self._data.append(line[5:].removeprefix(" "))
            elif not line and self._data:
                data, self._data = "\n".join(self._data), []
                yield data


def error_answer(status: int, raw: bytes, headers: Mapping[str, str], what: str) -> LMError:
    """Return the error for an answer that is not 200, by its status and what its body and headers say."""
    complaint = complaint_of(raw)
    rule = classify(status, complaint)
    named_s = retry_after_s({name.lower(): value for name, value in headers.items()})
    return rule.kind(
        f"{what} answered {status}: {complaint.said or 'no reason given'}.{rule.advice}",
        status=status,
        retry_after_s=complaint.retry_after_s if named_s is None else named_s,
        raw=raw[:KEPT].decode("utf-8", "replace"),
    )


def unless_filtered(reply: LMReply, what: str) -> LMReply:
    """Return the reply. Raises LMContentFilterError, with the bill, when the provider's filter left nothing of it."""
    if reply.finish_reason == _FILTERED and not reply.text:
        raise LMContentFilterError(
            f"{what} withheld the whole reply: its content filter refuses it.",
            raw=_FILTERED,
            attempts=reply.attempts,
            billed=reply,
        )
    return reply


def bad_reply(sentence: str, raw: bytes) -> LMBadReplyError:
    """Return the error for a reply that is not the protocol; the beginning of the reply is kept."""
    kept = raw[:KEPT].decode("utf-8", "replace")
    return LMBadReplyError(f"{sentence}. It began: {kept[:80]!r}.", raw=kept)


def _status_of(error: Any) -> int:
    """Return the status an error event carries in its code; 500 where it says nothing, the stream being broken."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500  # noqa: PLR2004 - HTTP's error range


def _json_object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise bad_reply(f"{what} answered something that is not JSON", raw) from error
    if not isinstance(body, dict):
        raise bad_reply(f"{what} answered JSON that is no object", raw)
    return body


def _first_choice(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, Mapping) else None


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # some servers answer in parts: [{"type": "text", "text": ...}]
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return ""


def usage_of(usage: Any) -> Usage | None:
    """Return the `usage` object of a reply as ours, or None when there is none, or it counts nonsense."""
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)  # embeddings have no completion
    if not (_is_count(prompt) and _is_count(completion)):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=min(cached, prompt) if _is_count(cached) else 0,
    )


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
