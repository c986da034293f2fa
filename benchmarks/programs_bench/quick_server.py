"""A model server so cheap that it is not the limit: one asyncio.Protocol, the latency through `call_later`.

It answers what is asked for `item-N` with `word-N`: as JSON, or in DSPy's chat format where the prompt shows it. A GET
of any path gives its figures since the last one: how often it was asked, and the most calls that were open at once.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ITEM = re.compile(rb"item-(\d+)")
_CHAT = b"[[ ## "
_AS_JSON = rb"{\"answer\": \"word-%s\"}"
_AS_CHAT = rb"[[ ## answer ## ]]\nword-%s\n\n[[ ## completed ## ]]"
_BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"quick","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}}'
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@dataclass(slots=True)
class Figures:
    """What the server counts."""

    asked: int = 0
    open: int = 0
    most_open: int = 0

    def begin(self) -> None:
        self.asked += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def taken(self) -> bytes:
        told = json.dumps({"asked": self.asked, "most_open": self.most_open}).encode()
        self.asked, self.most_open = 0, self.open
        return told


class QuickProtocol(asyncio.Protocol):
    """One connection; a client waits for each answer before it asks again."""

    def __init__(self, latency_s: float, figures: Figures) -> None:
        self._latency_s, self._figures = latency_s, figures
        self._loop = asyncio.get_running_loop()
        self._arrived = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        head_end = self._arrived.find(b"\r\n\r\n")
        if head_end < 0:
            return
        found = _LENGTH.search(self._arrived, 0, head_end)
        if len(self._arrived) < head_end + 4 + (int(found[1]) if found else 0):
            return
        asked, self._arrived = self._arrived, b""
        if asked.startswith(b"GET"):
            self._write(self._figures.taken())
            return
        self._figures.begin()
        item = _ITEM.findall(asked)[-1]
        body = _BODY % ((_AS_CHAT if _CHAT in asked else _AS_JSON) % item)
        self._loop.call_later(self._latency_s, self._answer, body)

    def _answer(self, body: bytes) -> None:
        self._figures.open -= 1
        self._write(body)

    def _write(self, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_HEAD % len(body) + body)


@dataclass(frozen=True, slots=True)
class QuickServer:
    """The server in its process."""

    url: str

    def figures(self) -> dict[str, int]:
        """Return `asked` and `most_open` since the last question."""
        with urllib.request.urlopen(self.url, timeout=10) as response:
            told: dict[str, int] = json.load(response)
        return told


async def _serve(latency_s: float) -> None:
    listening, figures = socket.create_server(("127.0.0.1", 0), backlog=8192), Figures()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: QuickProtocol(latency_s, figures), sock=listening, backlog=8192)
    print(listening.getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def quick_server(latency_s: float) -> Iterator[QuickServer]:
    """Run the server in a process of its own."""
    process = subprocess.Popen([sys.executable, str(Path(__file__)), str(latency_s)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield QuickServer(f"http://127.0.0.1:{int(process.stdout.readline())}/v1")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
