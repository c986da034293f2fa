"""The simulated model behind OpenAI's wire format: one `asyncio.Protocol`, in a process of its own.

`POST .../chat/completions` answers; under `/aside/v1` instead of `/v1` it answers without counting, latency or faults,
to judge finished programs. `GET /` gives what was counted since the start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optimizers_bench.model import SIZES, SimulatedModel
from optimizers_bench.prompt_reading import text_of
from optimizers_bench.tasks import TASKS, splits_of

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUS = {200: b"OK", 429: b"Too Many Requests", 500: b"Internal Server Error"}


@dataclass(frozen=True)
class Weather:
    """How long answers take (log-normal, with this median and sigma), and how many of them fail; a third each way."""

    median_s: float = 0.0
    sigma: float = 0.0
    fault_rate: float = 0.0


class Service:
    """The model, its weather and its counters, for all connections."""

    def __init__(self, model: SimulatedModel, weather: Weather, seed: int) -> None:
        self._model, self._weather = model, weather
        self._draws = random.Random(f"weather/{seed}")
        self._asked = Counter[str]()
        self.counted = Counter[str]()

    def reply(self, raw: bytes, *, aside: bool) -> tuple[int, bytes, float]:
        """Return the status, the body and the seconds to wait; status 0 is a connection that is cut."""
        body = json.loads(raw)
        latency_s, fault = (0.0, 200) if aside else (self._latency_s(), self._fault())
        if fault != 200:
            self.counted["faults"] += 1
            error = {"error": {"message": "The weather is bad.", "type": "server_error", "code": None}}
            return fault, json.dumps(error).encode(), latency_s
        key = json.dumps([body["messages"], body.get("model"), body.get("temperature")])
        draw = body.get("seed")
        if draw is None:
            draw = self._asked[f"{aside}{key}"]
            self._asked[f"{aside}{key}"] += 1
        said = self._model.say(body, int(draw))
        size = SIZES.get(str(body.get("model", "")), SIZES["small"])
        tokens_in = sum(len(text_of(message)) for message in body["messages"]) // 4
        tokens_out = max(1, len(said.text) // 4)
        if not aside:
            self.counted[said.kind] += 1
            self.counted["calls"] += 1
            self.counted["tokens_in"] += tokens_in
            self.counted["tokens_out"] += tokens_out
            self.counted["nano_usd"] += round(1000 * (tokens_in * size.usd_in + tokens_out * size.usd_out))
        usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        choice = {"index": 0, "message": {"role": "assistant", "content": said.text}, "finish_reason": "stop"}
        told = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "choices": [choice]}
        return 200, json.dumps({**told, "model": body.get("model", "small"), "usage": usage}).encode(), latency_s

    def _latency_s(self) -> float:
        weather = self._weather
        return weather.median_s * math.exp(weather.sigma * self._draws.gauss(0, 1)) if weather.median_s else 0.0

    def _fault(self) -> int:
        if self._draws.random() >= self._weather.fault_rate:
            return 200
        return self._draws.choice((429, 500, 0))


class WorldProtocol(asyncio.Protocol):
    """One connection; a client waits for each answer before it asks again."""

    def __init__(self, service: Service) -> None:
        self._service, self._arrived = service, b""
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
        end = head_end + 4 + (int(found[1]) if found else 0)
        if len(self._arrived) < end:
            return
        head, raw, self._arrived = self._arrived[:head_end], self._arrived[head_end + 4 : end], b""
        if head.startswith(b"GET"):
            self._write(200, json.dumps(self._service.counted).encode())
            return
        status, body, latency_s = self._service.reply(raw, aside=b"/aside/" in head.split(b"\r\n", 1)[0])
        if latency_s:
            asyncio.get_running_loop().call_later(latency_s, self._write, status, body)
        else:
            self._write(status, body)

    def _write(self, status: int, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if not status:
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
            self._transport.close()
            return
        head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % (status, _STATUS[status], len(body)) + body)


@dataclass(frozen=True)
class World:
    """A server in its process."""

    root: str

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def aside(self) -> str:
        """Where finished programs are judged."""
        return f"{self.root}/aside/v1"

    def counted(self) -> dict[str, int]:
        """Return `calls`, of them `task` and `text`, `faults`, tokens and `nano_usd`; what is 0 is absent."""
        with urllib.request.urlopen(self.root, timeout=10) as response:
            told: dict[str, int] = json.load(response)
        return told


@contextmanager
def world(task: str, seed: int, weather: Weather | None = None) -> Iterator[World]:
    """Run a server in a process of its own."""
    options = json.dumps(asdict(weather or Weather()))
    process = subprocess.Popen(
        [sys.executable, "-m", "optimizers_bench.server", task, str(seed), options],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield World(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.wait()


def service_of(task: str, seed: int, weather: Mapping[str, Any]) -> Service:
    """Return the service of a task and a seed."""
    splits = splits_of(TASKS[task], seed)
    model = SimulatedModel(TASKS[task], [*splits.train, *splits.validation, *splits.test], seed)
    return Service(model, Weather(**weather), seed)


async def _serve(service: Service) -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = await asyncio.get_running_loop().create_server(lambda: WorldProtocol(service), sock=listening)
    print(listening.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("seed", type=int)
    parser.add_argument("weather", nargs="?", default="{}", help="JSON of Weather's fields")
    options = parser.parse_args()
    asyncio.run(_serve(service_of(options.task, options.seed, json.loads(options.weather))))
