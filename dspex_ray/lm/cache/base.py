"""The contract of a cache of replies, and what it keeps.

| method | called by `CachedLM`, in a thread    | must                                                |
|--------|-------------------------------------|-----------------------------------------------------|
| `get`  | before each call                    | return what was put under the key, or None          |
| `put`  | after each call that succeeded      | keep it or drop it, as its bounds say               |

Neither raises: a cache is an aid, and one that cannot read or write says so in the log, and the model is asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dspex_ray.lm.base import LMReply, LMRequest, Usage


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
    def of(key: str, model: str, request: LMRequest, reply: LMReply, at: float) -> CachedReply:
        """Return what is kept of a reply."""
        messages = [message.as_wire() for message in request.messages]
        asked = {**dataclasses.asdict(request), "messages": messages, "stop": list(request.stop)}
        return CachedReply(
            key=key,
            model=model,
            at=at,
            request=asked,
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            cost_usd=reply.cost_usd,
        )

    def reply(self, model: str) -> LMReply:
        """Return it as a reply that cost nothing; the provider counted no tokens for it."""
        return LMReply(
            text=self.text, model=model, cost_usd=0.0, attempts=0, finish_reason=self.finish_reason, cached=True
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> CachedReply:
        """Rebuild from `to_json`. Raises TypeError or KeyError for other JSON."""
        return CachedReply(**{**data, "usage": Usage(**data["usage"])})


class ReplyCache(Protocol):
    """The methods of the table above."""

    def get(self, key: str) -> CachedReply | None:
        """Return what is kept under the key."""
        ...

    def put(self, kept: CachedReply) -> None:
        """Keep a reply under its key."""
        ...
