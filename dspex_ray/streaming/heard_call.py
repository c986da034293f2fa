"""`HeardCall`: one typed model call that is told piece by piece to whoever listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Protocol

from dspex_ray.errors import LMConnectionError
from dspex_ray.lm.base import LMChunk, LMReply
from dspex_ray.schema import Schema, check
from dspex_ray.streaming.listening import Listener, present_listener
from dspex_ray.streaming.node import Node
from dspex_ray.streaming.partial_object import PartialObject
from dspex_ray.streaming.partial_sections import PartialSections
from dspex_ray.streaming.piece import StreamPiece
from dspex_ray.streaming.shapes import SchemaShape, as_mappings, grows_into


class PartialReply(Protocol):
    """Reads one reply as it grows; see `PartialObject`."""

    @property
    def root(self) -> Node | None:
        """The object so far."""
        ...

    @property
    def restarts(self) -> int:
        """How often what was known turned out to be something else than the answer."""
        ...

    def feed(self, text: str) -> bool:
        """Read on and return whether anything became known."""
        ...

    def finish(self) -> bool:
        """Read the end of the reply; likewise."""
        ...


class HeardCall:
    """A call whose reply is read while it comes. A second `read` is the model asked again."""

    def __init__(self, listener: Listener, place: str, schema: type[Schema], form: str) -> None:
        self._listener, self._place, self._schema = listener, place, schema
        self._number = listener.next_call()
        self._make_reader = _READERS[form]
        self._shape = SchemaShape(schema, schema)
        self._reader: PartialReply | None = None
        self._restarts, self._heard = 0, 0
        self._partial: dict[str, Any] = {}
        self._complete: tuple[str, ...] = ()

    async def read(self, chunks: AsyncIterator[LMChunk]) -> LMReply:
        """Return the whole reply after telling its pieces. Raises what the model raises."""
        if self._reader is not None:
            self._partial, self._complete, self._restarts, self._heard = {}, (), 0, 0
            await self._tell(restarted=True)
        self._reader = reader = self._make_reader(self._schema)
        reply: LMReply | None = None
        try:
            async for chunk in chunks:
                await self._take(chunk, reader)
                reply = chunk.reply or reply
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        if reply is None:  # `recorded_stream` raises in its place
            raise LMConnectionError("The stream ended without the whole reply.")
        if reply.finish_reason != "length" and reader.finish():  # a reply that was cut off is no answer in any way
            await self._tell(changed=True)
        return reply

    async def close(self, output: Schema) -> None:
        """Tell what the reply did not say piece by piece: defaults, changed values, an answer without an object."""
        whole, names = as_mappings(output), tuple(type(output).model_fields)
        if whole == self._partial and set(names) == set(self._complete):
            return
        restarted = not grows_into(self._partial, whole)
        self._partial, self._complete = whole, names
        await self._tell(restarted=restarted)

    async def _take(self, chunk: LMChunk, reader: PartialReply) -> None:
        # a model that does not stream has all its text in the last chunk
        delta = chunk.delta or (chunk.reply.text[self._heard :] if chunk.reply is not None else "")
        if delta:
            self._heard += len(delta)
            await self._tell(delta, changed=reader.feed(delta))

    async def _tell(self, delta: str = "", *, changed: bool = False, restarted: bool = False) -> None:
        reader = self._reader
        if changed and reader is not None:
            restarted = reader.restarts > self._restarts and bool(self._partial)
            self._restarts = reader.restarts
            root = reader.root
            self._partial = self._shape.known(root) if root is not None else {}
            self._complete = self._shape.complete(root) if root is not None else ()
        piece: StreamPiece[Any] = StreamPiece(
            place=self._place,
            call=self._number,
            delta=delta,
            partial=self._partial,
            complete=self._complete,
            restarted=restarted,
            schema=self._schema,
        )
        await self._listener.hear(piece)


def _json(schema: type[Schema]) -> PartialReply:
    return PartialObject(wanted=lambda found: isinstance(check(schema, found, explain=False), schema))


_READERS: Mapping[str, Callable[[type[Schema]], PartialReply]] = {"json": _json, "text": PartialSections}
"""How a reply in each answer format is read as it grows."""


def heard_call(place: str, schema: type[Schema], form: str) -> HeardCall | None:
    """Return the call to be told, whose replies are in the answer format `form`; None where nobody listens."""
    listener = present_listener()
    return HeardCall(listener, place, schema, form) if listener is not None else None
