"""`embedded/nearest`: answers by the nearest demonstration in the prompt, in-process and offline."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from dspex_ray.lm.base import ChatMessage, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.ngrams import HashedNgrams
from dspex_ray.lm.tokens import count_prompt_tokens, count_tokens
from dspex_ray.lm.zero_shot import completed, shortened, zero_shot

EMBEDDED_NEAREST = "embedded/nearest"


class EmbeddedNearest:
    """No language model: a nearest-neighbour rule that speaks a model's protocol, free and the same every time.

    The demonstrations are the pairs of a user and an assistant message before the last user message. The reply is the
    assistant's text of the pair whose user text is nearest to the last user message by cosine of hashed n-grams, word
    for word, the first of equals; what the response schema requires and that text lacks is filled in. Without
    demonstrations it fills the whole schema from the message alone (see `zero_shot`), and without a schema it repeats
    the message's beginning. It reads no instruction, and temperature, seed, stop and token limits change nothing.
    Usage follows `dspex_ray.lm.tokens`; the cost is 0.0.
    """

    def __init__(self, *, timer: Callable[[], float] = time.perf_counter) -> None:
        self._ngrams = HashedNgrams()
        self._timer = timer

    @property
    def model(self) -> str:
        """Always `embedded/nearest`."""
        return EMBEDDED_NEAREST

    def __repr__(self) -> str:
        return "EmbeddedNearest()"

    async def complete(self, request: LMRequest) -> LMReply:
        """Answer at once. Nothing can fail: any text will do, and a valid JSON Schema."""
        started = self._timer()
        text = self.answer(request.messages, request.response_schema)
        usage = Usage(prompt_tokens=count_prompt_tokens(request.messages), completion_tokens=count_tokens(text))
        return LMReply(text=text, model=self.model, usage=usage, cost_usd=0.0, latency_s=self._timer() - started)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        """Answer in one piece, then the reply."""
        reply = await self.complete(request)
        yield LMChunk(delta=reply.text)
        yield LMChunk(reply=reply)

    async def aclose(self) -> None:
        """Nothing to close."""

    def answer(self, messages: Sequence[ChatMessage], schema: Mapping[str, Any] | None) -> str:
        """Return the text for a conversation: a demonstration's answer, or the schema filled from the message."""
        demonstrations, query = split_demonstrations(messages)
        if demonstrations:
            nearest = self._ngrams.nearest([asked for asked, _ in demonstrations], query)
            answered = demonstrations[nearest][1]
            return answered if schema is None else completed(answered, schema, query, self._ngrams)
        return shortened(query) if schema is None else zero_shot(schema, query, self._ngrams)


def split_demonstrations(messages: Sequence[ChatMessage]) -> tuple[list[tuple[str, str]], str]:
    """Return the (user, assistant) pairs before the last user message, and that message ("" when there is none)."""
    last = next((i for i in range(len(messages) - 1, -1, -1) if messages[i].role == "user"), None)
    if last is None:
        return [], ""
    before = messages[:last]
    pairs = [
        (asked.content, answered.content)
        for asked, answered in itertools.pairwise(before)
        if asked.role == "user" and answered.role == "assistant"
    ]
    return pairs, messages[last].content
