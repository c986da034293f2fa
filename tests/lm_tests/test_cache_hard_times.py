"""A cache whose folder is full, read-only, torn or written by processes that are killed: calls go on, entries whole."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dspex_ray.lm.base import LM, ChatMessage, LMRequest
from dspex_ray.lm.cache import CachedLM, CacheSettings, DiskCache, MemoryCache
from dspex_ray.lm.cache.base import CachedReply
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.routing import FallbackLM
from dspex_ray.testing.lm_contract import ask
from dspex_ray.testing.model_faults import Faults, Weather
from dspex_ray.testing.model_server import ModelServer

ASKED = LMRequest(messages=(ChatMessage("user", "hello"),))


def client(server: ModelServer, name: str = "vllm/m") -> OpenAICompatibleLM:
    return OpenAICompatibleLM(name, wire_model="m", base_url=server.base_url, api_key=None, price=None)


def texts(lm: LM, *requests: LMRequest) -> list[tuple[str, bool]]:
    async def in_turn() -> list[tuple[str, bool]]:
        try:
            replies = [await lm.complete(request) for request in requests]
            return [(reply.text, reply.cached) for reply in replies]
        finally:
            await lm.aclose()

    return asyncio.run(in_turn())


def test_without_a_folder_to_be_had_calls_go_on_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    with ModelServer() as server:
        lm = CachedLM(client(server), CacheSettings("disk", str(tmp_path / "file" / "cache")))
        assert texts(lm, ASKED, ASKED) == [("hello", False), ("hello", True)]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "The cache folder" in line
    assert "in memory alone" in line


ASKS = """
import asyncio, concurrent.futures.thread, logging, os, pathlib, resource, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from dspex_ray.lm.base import ChatMessage, LMRequest
from dspex_ray.lm.cache import CachedLM, CacheSettings
from dspex_ray.lm.embedded import EmbeddedNearest
folder, trouble, *texts = sys.argv[1:]
def was_cached(lm, text):
    return asyncio.run(lm.complete(LMRequest(messages=(ChatMessage("user", text),)))).cached
was_cached(EmbeddedNearest(), "loads what it needs, while this user still may")
if trouble == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # each byte written to a file is one too many, as on a full disk
elif trouble == "read-only":
    everything = [pathlib.Path(folder), *pathlib.Path(folder).rglob("*")]
    for path in everything:
        path.chmod(0o500)
        os.chown(path, 65534 if os.geteuid() == 0 else -1, -1)
    if os.geteuid() == 0:
        os.setuid(65534)  # no mode keeps root out
lm = CachedLM(EmbeddedNearest(), CacheSettings("disk", folder))
print([was_cached(lm, text) for text in texts])
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder whose parents let every user through; pytest's own are for root alone where root runs it."""
    with tempfile.TemporaryDirectory(prefix="dspex-cache-") as made:
        Path(made).chmod(0o711)
        yield Path(made) / "cache"


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_with_a_disk_that_takes_nothing_calls_go_on_and_the_log_says_so_once(open_folder: Path, trouble: str) -> None:
    def ran(trouble: str, *asked: str) -> list[str]:
        command = [sys.executable, "-c", ASKS, str(open_folder), trouble, *asked]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert ran("none", "kept before") == ["[False]"]
    told = ran(trouble, "kept before", "new", "newer", "new")
    assert told[-1] == "[True, False, False, True]"
    assert len(told) == 2, told
    assert f"cannot keep replies in the cache folder {open_folder}, models are asked without it" in told[0]


WRITER = """
import sys
from dspex_ray.lm.base import ChatMessage, LMReply, LMRequest
from dspex_ray.lm.cache import CachedReply, DiskCache
cache = DiskCache(sys.argv[1], max_bytes=10_000_000)
request = LMRequest(messages=(ChatMessage("user", "q"),))
print("ready", flush=True)
n = 0
while True:
    n = (n + 1) % 40
    cache.put(CachedReply.of(f"{n:064x}", request, LMReply(text=f"{n}" * 20_000, model="m"), 1.0))
    found = cache.get(f"{n:064x}")
    assert found is not None and found.text == f"{n}" * 20_000
"""


def test_eight_processes_that_write_and_are_killed_leave_no_torn_entry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        cache, seen = DiskCache(tmp_path), 0
        for number, writer in enumerate(writers):
            deadline = time.monotonic() + 0.1
            while time.monotonic() < deadline or not seen:
                for entry in cache.entries():
                    assert entry.text == f"{int(entry.key, 16)}" * 20_000
                    seen += 1
            assert writer.poll() is None, f"writer {number} found a torn entry"
            os.kill(writer.pid, signal.SIGKILL)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(10)
            if writer.stdout is not None:
                writer.stdout.close()
    left = list(cache.entries())
    assert len(left) == cache.measure().entries > 0
    assert all(entry.text == f"{int(entry.key, 16)}" * 20_000 for entry in left)
    assert "no entry of this cache" not in caplog.text


@pytest.mark.parametrize("damage", [b"", b"\0" * 400, b'{"format": 2, "key": "', b"[" * 100_000, b'{"format": 2}'])
def test_a_torn_file_is_a_miss_with_a_log_line_and_is_written_anew(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    settings = CacheSettings("disk", str(tmp_path))
    with ModelServer() as server:
        assert texts(CachedLM(client(server), settings), ASKED) == [("hello", False)]
        (file,) = tmp_path.glob("*/*.json")
        file.write_bytes(damage)
        assert texts(CachedLM(client(server), settings), ASKED) == [("hello", False)]
        assert texts(CachedLM(client(server), settings), ASKED) == [("hello", True)]
    assert caplog.text.count("which is no entry of this cache") == 1


@pytest.mark.parametrize("field", ["text", "model", "finish_reason"])
def test_an_entry_whose_texts_are_none_is_a_miss(tmp_path: Path, field: str) -> None:
    settings = CacheSettings("disk", str(tmp_path))
    with ModelServer() as server:
        texts(CachedLM(client(server), settings), ASKED)
        (file,) = tmp_path.glob("*/*.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), field: 5}))
        assert texts(CachedLM(client(server), settings), ASKED) == [("hello", False)]


def test_an_entry_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with ModelServer() as server:
        texts(CachedLM(client(server), CacheSettings("disk", str(tmp_path))), ASKED)
    (file,) = tmp_path.glob("*/*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99, "more": "fields"}))
    assert list(DiskCache(tmp_path).entries()) == []
    assert file.exists()


def test_a_cached_reply_names_the_model_that_gave_it(tmp_path: Path) -> None:
    settings = CacheSettings("disk", str(tmp_path))
    down = Weather(faults=Faults(rate_filtered=1.0))

    async def models(lm: LM) -> list[str]:
        replies = [await lm.complete(ASKED), await lm.complete(ASKED)]
        streamed = [chunk.reply async for chunk in lm.stream(ASKED) if chunk.reply is not None]
        await lm.aclose()
        return [reply.model for reply in [*replies, *streamed]]

    with ModelServer(weather=down) as first, ModelServer() as second:
        for _ in range(2):  # the second time from the folder
            both = FallbackLM([client(first, "vllm/a"), client(second, "vllm/b")])
            assert asyncio.run(models(CachedLM(both, settings))) == ["vllm/b"] * 3
        assert second.counters()["requests"] == 1
    assert [entry.model for entry in DiskCache(tmp_path).entries()] == ["vllm/b"]


def test_pictures_count_for_the_bytes_of_a_memory_cache() -> None:
    def entry(images: tuple[str, ...]) -> CachedReply:
        request = LMRequest(messages=(ChatMessage("user", "what is this?", images),))
        with ModelServer() as server:
            reply = asyncio.run(_answered(client(server), ask("x")))
        return CachedReply.of("a" * 64, request, reply, 0.0)

    sizes = []
    for images in ((), ("data:image/png;base64," + "A" * 100_000,)):
        cache = MemoryCache()
        cache.put(entry(images))
        sizes.append(cache.bytes)
    assert sizes[1] - sizes[0] > 100_000


async def _answered(lm: OpenAICompatibleLM, request: LMRequest) -> Any:
    try:
        return await lm.complete(request)
    finally:
        await lm.aclose()
