"""The contract of a cache of replies, and what it keeps.

| method | called by `CachedLM`, in a thread    | must                                                |
|--------|-------------------------------------|-----------------------------------------------------|
| `get`  | before each call                    | return what was put under the key, or None          |
| `put`  | after each call that succeeded      | keep it or drop it, as its bounds say               |

Neither raises: a cache is an aid. One that cannot read or write says so in the log, and the model is asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dspex_ray.lm.base import LMReply, LMRequest, Usage
from dspex_ray.lm.cache.key import FORMAT


class OtherFormatError(ValueError):
    """An entry of another version of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedReply:
    """A reply with the request it answers, as JSON can hold them. `at` is when it came, in seconds since the epoch."""

    key: str
    model: str
    at: float
    request: Mapping[str, Any]
    text: str
    finish_reason: str
    usage: Usage
    cost_usd: float | None

    @staticmethod
    def of(key: str, request: LMRequest, reply: LMReply, at: float) -> CachedReply:
        """Return what is kept of a reply, under the name of the model that gave it."""
        messages = [message.as_wire() for message in request.messages]
        asked = {**dataclasses.asdict(request), "messages": messages, "stop": list(request.stop)}
        return CachedReply(
            key=key,
            model=reply.model,
            at=at,
            request=asked,
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            cost_usd=reply.cost_usd,
        )

    def reply(self) -> LMReply:
        """Return it as a reply that cost nothing; the provider counted no tokens for it."""
        return LMReply(
            text=self.text,
            model=self.model,
            cost_usd=0.0,
            attempts=0,
            finish_reason=self.finish_reason,
            cached=True,
            spared=self.usage,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON, with the format they have."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(data: Any) -> CachedReply:
        """Rebuild from `to_json`. Raises OtherFormatError, TypeError or KeyError for other JSON."""
        if not isinstance(data, Mapping):
            raise TypeError(f"expected an object, got {type(data).__name__}")
        if data["format"] != FORMAT:
            raise OtherFormatError(f"format {data['format']!r}, where this version keeps {FORMAT}")
        fields = {name: value for name, value in data.items() if name not in ("format", "usage")}
        kept = CachedReply(**fields, usage=Usage(**data["usage"]))
        if not all(isinstance(text, str) for text in (kept.key, kept.model, kept.text, kept.finish_reason)):
            raise TypeError("key, model, text and finish_reason must be texts")
        return kept


class ReplyCache(Protocol):
    """The methods of the table above."""

    def get(self, key: str) -> CachedReply | None:
        """Return what is kept under the key."""
        ...

    def put(self, kept: CachedReply) -> None:
        """Keep a reply under its key."""
        ...
