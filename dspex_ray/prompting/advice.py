"""`advised`: advice that reaches the model calls of a program, or of one of its parts, without being an input."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from dspex_ray.lm.base import ChatMessage

_advice: contextvars.ContextVar[tuple[Mapping[str, str], ...]] = contextvars.ContextVar("dspex_advice", default=())


@contextmanager
def advised(advice: Mapping[str, str]) -> Iterator[None]:
    """Give the model calls within advice by the place of the program that makes them, or of one around that.

    Advice for `program` reaches `program` and `program.draft`; that for `program.draft` only the latter. Calls within
    another `advised` are given the outer advice first.
    """
    token = _advice.set((*_advice.get(), advice))
    try:
        yield
    finally:
        _advice.reset(token)


def with_advice(messages: tuple[ChatMessage, ...], place: str) -> tuple[ChatMessage, ...]:
    """Return the messages with the advice for a place at the end of the last one.

    There it leaves the beginning as it is, which a provider's prompt cache may know.
    """
    told = [text for advice in _advice.get() for text in _for_place(advice, place)]
    if not told:
        return messages
    *before, last = messages
    return (*before, replace(last, content="\n\n".join((last.content, *told))))


def _for_place(advice: Mapping[str, str], place: str) -> Iterator[str]:
    """Yield the advice for the places around this one, the outermost first, and for itself."""
    steps = place.split(".") if place else []
    for depth in range(len(steps) + 1):
        text = advice.get(".".join(steps[:depth]))
        if text:
            yield text
