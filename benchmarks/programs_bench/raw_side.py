"""What the server can do at most: the same requests as bytes made beforehand, answers counted and not read."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

from side import Figures

from programs_bench.questions import question, stopwatch


class _Asking(asyncio.Protocol):
    """Sends the next request when the answer to the one before is there."""

    def __init__(self, waiting: list[bytes], ended: asyncio.Event, left: list[int]) -> None:
        self._waiting, self._ended, self._left = waiting, ended, left

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        assert data.endswith(b"}}")  # an answer is small and comes whole
        self._left[0] -= 1
        self._next()

    def _next(self) -> None:
        if self._waiting:
            self._transport.write(self._waiting.pop())
        elif not self._left[0]:
            self._ended.set()


def _request(number: int) -> bytes:
    system = {"role": "system", "content": "Answer the question with one word. " * 20}
    messages = [system, {"role": "user", "content": question(number)}]
    body = json.dumps({"model": "quick", "messages": messages}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: quick\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def ceiling(url: str, count: int, at_once: int) -> Figures:
    """Ask over so many connections."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    requests = [_request(number) for number in range(count)]

    async def run() -> Figures:
        loop, ended, left = asyncio.get_running_loop(), asyncio.Event(), [count]
        with stopwatch(count) as figures:
            for _ in range(at_once):
                await loop.create_connection(lambda: _Asking(requests, ended, left), host, port)
            async with asyncio.timeout(60):
                await ended.wait()
        return figures

    return asyncio.run(run())
