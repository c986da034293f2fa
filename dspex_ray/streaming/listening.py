"""Who listens to the model calls of this task and of those it starts."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from dspex_ray.streaming.piece import StreamPiece


class Listener(Protocol):
    """Hears the pieces of every model call; several calls may run at once."""

    def next_call(self) -> int:
        """Return the number of a call that begins, from 0."""
        ...

    async def hear(self, piece: StreamPiece[Any]) -> None:
        """Take a piece; the call reads no further until this returns."""
        ...


_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("dspex_stream_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let the listener hear the calls made within, in the place of one around it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def present_listener() -> Listener | None:
    """Return who listens here, if anyone does."""
    return _listener.get()
