"""The contract every language-model client keeps: one request in, one reply with true usage out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation, in the wire's own words.

    `images` are addresses (http, https or data URLs) of pictures that stand behind the text; a repr leaves them out,
    since one may have megabytes.
    """

    role: Role
    content: str
    images: tuple[str, ...] = field(default=(), repr=False)

    def as_wire(self) -> dict[str, Any]:
        """Return the message as the OpenAI chat format spells it."""
        if not self.images:
            return {"role": self.role, "content": self.content}
        text = [{"type": "text", "text": self.content}] if self.content else []
        pictures = [{"type": "image_url", "image_url": {"url": url}} for url in self.images]
        return {"role": self.role, "content": [*text, *pictures]}


@dataclass(frozen=True, slots=True, kw_only=True)
class LMRequest:
    """What a model is asked. Equal requests may be answered from a cache; `rollout_id` tells repeats apart.

    `response_schema` is the JSON Schema the reply should satisfy; a client passes it on where the provider can
    enforce it and ignores it otherwise (the prompt asks for JSON in any case). The first `stable_messages` of the
    messages are the same for every input, for providers that are told what to keep in their prompt cache.
    `reasoning_effort` is the provider's own word, such as `low`. `timeout_s` bounds the whole call, retries included.
    """

    messages: tuple[ChatMessage, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    response_schema: Mapping[str, Any] | None = None
    rollout_id: int = 0
    stable_messages: int = 0
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the provider counted them; `cached_tokens` is the part of the prompt billed at the cached rate."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class LMReply:
    """What a model answered; `attempts` counts HTTP requests, failed ones too; `cost_usd` is None without a price.

    A `cached` reply was paid for by an earlier or simultaneous equal request: it has no usage and no cost of its own,
    and `spared` is the usage of that one.
    """

    text: str
    model: str
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    latency_s: float = 0.0
    attempts: int = 1
    finish_reason: str = "stop"
    request_id: str | None = None
    cached: bool = False
    spared: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True, kw_only=True)
class LMChunk:
    """A piece of a streamed reply; the last one carries `reply` with the whole text and the usage."""

    delta: str = ""
    reply: LMReply | None = None


@runtime_checkable
class LM(Protocol):
    """A language model. One instance serves many concurrent calls on a loop and pickles without its connections.

    `complete` and `stream` are called by `Program` once per model call; they retry what is worth retrying within
    `request.timeout_s` and raise a subclass of `dspex_ray.errors.LMError` otherwise, never a library's own error.
    `aclose` is called once by whoever made the client, on the loop that used it. Where the same model may be asked at
    several addresses, a client has an `endpoint: str` too, which tells its cached replies apart.
    """

    @property
    def model(self) -> str:
        """The name a user wrote, such as `openai/gpt-4o-mini`."""
        ...

    async def complete(self, request: LMRequest) -> LMReply:
        """Answer the request with the whole reply."""
        ...

    def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        """Answer the request piece by piece; the last chunk carries the whole reply."""
        ...

    async def aclose(self) -> None:
        """Close connections. Calling it twice is harmless."""
        ...


def wire_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Return the messages as the OpenAI chat format spells them."""
    return [message.as_wire() for message in messages]
