"""`astream` and `stream`: a program's answer, piece by piece while it is written."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping
from typing import Any, TypeVar, overload

from dspex_ray.programs.program_types import Answers, Asked
from dspex_ray.running_loop import refuse_running_loop
from dspex_ray.schema import Schema
from dspex_ray.streaming.listening import listening
from dspex_ray.streaming.piece import StreamPiece
from dspex_ray.streaming.shapes import as_mappings

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_T = TypeVar("_T")

_MOST_WAITING = 16  # pieces that a slow reader has not taken yet; then the model's replies are read no further
_CLOSE_S = 10.0


class _Channel:
    """Pieces on their way to one reader. The end always fits; a piece waits until there is room."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._pieces = asyncio.Queue[StreamPiece[Any] | None]()  # bounded by the room
        self._calls = 0

    def next_call(self) -> int:
        self._calls += 1
        return self._calls - 1

    async def hear(self, piece: StreamPiece[Any]) -> None:
        await self._room.acquire()
        self._pieces.put_nowait(piece)

    def end(self, _: object) -> None:
        self._pieces.put_nowait(None)

    async def take(self) -> StreamPiece[Any] | None:
        piece = await self._pieces.get()
        self._room.release()
        return piece


@overload
def astream(program: Asked[_In, _Out], fields: _In) -> AsyncGenerator[StreamPiece[_Out], None]: ...
@overload
def astream(program: Answers[_Out], fields: Mapping[str, Any]) -> AsyncGenerator[StreamPiece[_Out], None]: ...
def astream(program: Any, fields: Any) -> AsyncGenerator[StreamPiece[Any], None]:
    """Give the pieces of every model call the program makes for one input, and last the piece with its output.

    Raises what `Program.acall` raises, out of the iteration. Closing the generator, or leaving it for good, cancels
    the program. At most 16 pieces wait for a slow reader; the time it takes counts in the timeouts of the calls.
    """
    return _astream(program, fields)


async def _astream(program: Any, fields: Mapping[str, Any] | Schema) -> AsyncGenerator[StreamPiece[Any], None]:
    channel = _Channel()

    async def answer() -> Any:
        with listening(channel):
            return await program.acall(fields)

    task = asyncio.create_task(answer())
    task.add_done_callback(channel.end)
    try:
        while (piece := await channel.take()) is not None:
            yield piece
        output = await task
        yield StreamPiece(
            place=program.place,
            partial=as_mappings(output),
            complete=tuple(type(output).model_fields),
            output=output,
            schema=type(output),
        )
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSE_S)
        if task.done() and not task.cancelled():
            task.exception()  # whoever left did not want to hear of it


@overload
def stream(program: Asked[_In, _Out], fields: _In) -> Generator[StreamPiece[_Out], None, None]: ...
@overload
def stream(program: Answers[_Out], fields: Mapping[str, Any]) -> Generator[StreamPiece[_Out], None, None]: ...
def stream(program: Any, fields: Any) -> Generator[StreamPiece[Any], None, None]:
    """Give the pieces in code without an event loop; see `astream`. The program runs in a thread meanwhile.

    Raises UsageError within a running loop, where `async for piece in program.astream(...)` is right.
    """
    refuse_running_loop("program.stream(...)", "async for piece in program.astream(...)")
    return _stream(program, fields)


def _stream(program: Any, fields: Mapping[str, Any] | Schema) -> Generator[StreamPiece[Any], None, None]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="dspex-stream", daemon=True)
    thread.start()
    pieces, lock = _astream(program, fields), asyncio.Lock()

    async def step() -> StreamPiece[Any] | None:
        async with lock:
            return await anext(pieces, None)

    async def close() -> None:
        async with asyncio.timeout(2 * _CLOSE_S), lock:  # a step that was interrupted unwinds first
            await pieces.aclose()
            await program.aclose()
            await loop.shutdown_default_executor()

    try:
        while (piece := _on(loop, step())) is not None:
            yield piece
    finally:
        try:
            _on(loop, close())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_CLOSE_S)
            if not thread.is_alive():
                loop.close()


def _on(loop: asyncio.AbstractEventLoop, step: Coroutine[Any, Any, _T]) -> _T:
    """Return what the step gives on the loop of the other thread."""
    future = asyncio.run_coroutine_threadsafe(step, loop)
    try:
        return future.result()
    finally:
        future.cancel()
