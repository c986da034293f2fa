"""Cached replies: what counts as equal, one call for equal requests at once, bounds, files shared by processes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspex_agents import ManualClock
from dspex_ray.errors import ConfigurationError, LMServerError
from dspex_ray.lm.base import ChatMessage, LMChunk, LMReply, LMRequest, Usage
from dspex_ray.lm.cache import CachedLM, CachedReply, CacheSettings, DiskCache, MemoryCache, request_key


def ask(text: str = "hello", **options: Any) -> LMRequest:
    return LMRequest(messages=(ChatMessage("user", text),), **options)


class Counting:
    """A model that counts its calls and answers when the test lets it."""

    model = "test/counting"

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = 0
        self.gate, self.asked, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def complete(self, request: LMRequest) -> LMReply:
        self.calls += 1
        self.asked.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            self.ended.set()
            raise
        if self.failure is not None:
            raise self.failure
        usage = Usage(prompt_tokens=10, completion_tokens=3)
        return LMReply(text=f"reply {self.calls}", model=self.model, usage=usage, cost_usd=0.01)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        reply = await self.complete(request)
        yield LMChunk(delta=reply.text[:3])
        yield LMChunk(delta=reply.text[3:])
        yield LMChunk(reply=reply)

    async def aclose(self) -> None:
        self.gate.set()


class Unreachable:
    """A model that must not be asked."""

    model = "test/counting"

    async def complete(self, request: LMRequest) -> LMReply:
        raise AssertionError("asked")

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        raise AssertionError("asked")
        yield LMChunk()

    async def aclose(self) -> None: ...


def play(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def kept(key: str = "a" * 64, text: str = "yes") -> CachedReply:
    reply = LMReply(text=text, model="m", usage=Usage(prompt_tokens=2, completion_tokens=1), cost_usd=0.5)
    return CachedReply.of(key, ask(), reply, 100.0)


def key_of(number: int) -> str:
    return f"{number:064x}"


class TestKeys:
    @pytest.mark.parametrize(
        "other",
        [
            ask("hallo"),
            ask(temperature=0.0),
            ask(temperature=0.7),
            ask(top_p=0.5),
            ask(max_tokens=5),
            ask(stop=("\n",)),
            ask(seed=1),
            ask(rollout_id=1),
            ask(response_schema={"type": "object"}),
            dataclasses.replace(ask(), messages=(ChatMessage("system", "hello"),)),
            dataclasses.replace(ask(), messages=(ChatMessage("user", "hel"), ChatMessage("user", "lo"))),
        ],
    )
    def test_whatever_may_change_the_answer_changes_the_key(self, other: LMRequest) -> None:
        assert request_key("m", "", other) != request_key("m", "", ask())

    def test_model_and_endpoint_are_part_of_the_key_and_the_timeout_is_not(self) -> None:
        keys = {request_key(model, at, ask()) for model in ("a", "b") for at in ("http://x", "http://y")}
        assert len(keys) == 4
        assert request_key("m", "", ask(timeout_s=1.0)) == request_key("m", "", ask(timeout_s=9.0))

    @given(st.text(), st.text())
    def test_any_texts_have_a_key_and_different_ones_different_keys(self, one: str, other: str) -> None:
        assert (request_key("m", "", ask(one)) == request_key("m", "", ask(other))) is (one == other)


class TestCachedLM:
    def test_an_equal_request_is_answered_without_a_call_and_costs_nothing(self) -> None:
        async def scenario() -> None:
            model = Counting()
            lm = CachedLM(model, CacheSettings("memory"))
            first, second = await lm.complete(ask()), await lm.complete(ask())
            assert (first.cached, first.cost_usd, first.usage.total_tokens) == (False, 0.01, 13)
            assert (second.text, second.cached, second.cost_usd, second.attempts) == (first.text, True, 0.0, 0)
            assert second.usage == Usage()
            assert (await lm.complete(ask(rollout_id=1))).text == "reply 2"
            assert model.calls == 2

        play(scenario)

    def test_equal_requests_at_once_are_one_call_that_one_of_them_pays(self) -> None:
        async def scenario() -> None:
            model = Counting()
            model.gate.clear()
            lm = CachedLM(model, CacheSettings("memory"))
            asked = [asyncio.create_task(lm.complete(ask())) for _ in range(50)]
            await asyncio.sleep(0)
            model.gate.set()
            replies = await asyncio.gather(*asked)
            assert model.calls == 1
            assert {reply.text for reply in replies} == {"reply 1"}
            assert sum(reply.cost_usd or 0.0 for reply in replies) == 0.01
            assert sum(not reply.cached for reply in replies) == 1

        play(scenario)

    def test_a_failure_reaches_all_who_wait_and_is_not_kept(self) -> None:
        async def scenario() -> None:
            model = Counting()
            model.failure = LMServerError("down")
            lm = CachedLM(model, CacheSettings("memory"))
            outcomes = await asyncio.gather(*(lm.complete(ask()) for _ in range(3)), return_exceptions=True)
            assert [type(one) for one in outcomes] == [LMServerError] * 3
            model.failure = None
            assert (await lm.complete(ask())).text == "reply 2"

        play(scenario)

    def test_a_call_ends_early_only_when_nobody_waits_any_more(self) -> None:
        async def scenario() -> None:
            model = Counting()
            model.gate.clear()
            lm = CachedLM(model, CacheSettings("memory"))
            first, second = (asyncio.create_task(lm.complete(ask())) for _ in range(2))
            await model.asked.wait()
            first.cancel()
            await asyncio.wait((first,))
            assert (model.cancelled, second.done()) == (0, False)
            second.cancel()
            await asyncio.wait((second,))
            await model.ended.wait()
            assert model.cancelled == 1

        play(scenario)

    def test_a_streamed_reply_is_kept_and_comes_back_as_one_piece(self) -> None:
        async def scenario() -> None:
            model = Counting()
            lm = CachedLM(model, CacheSettings("memory"))
            pieces = [chunk async for chunk in lm.stream(ask())]
            assert [piece.delta for piece in pieces] == ["rep", "ly 1", ""]
            again = [chunk async for chunk in lm.stream(ask())]
            assert [piece.delta for piece in again] == ["reply 1", ""]
            assert again[-1].reply is not None
            assert again[-1].reply.cached
            assert model.calls == 1

        play(scenario)

    def test_a_folder_answers_in_another_process_and_after_pickling(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            settings = CacheSettings("disk", str(tmp_path))
            await CachedLM(Counting(), settings, clock=ManualClock(5.0)).complete(ask())
            travelled = pickle.loads(pickle.dumps(CachedLM(Unreachable(), settings)))
            reply = await travelled.complete(ask())
            assert (reply.text, reply.cached) == ("reply 1", True)

        play(scenario)

    def test_an_unusable_folder_is_a_clear_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(ConfigurationError, match=r"The cache folder .*file/x cannot be used"):
            DiskCache(tmp_path / "file" / "x")


class TestMemory:
    def test_it_keeps_to_its_bytes_and_drops_the_least_recently_used(self) -> None:
        cache = MemoryCache(max_bytes=7_000)  # three entries of about 2 kB
        for number in range(3):
            cache.put(kept(key_of(number)))
        cache.get(key_of(0))
        cache.put(kept(key_of(3)))
        assert [cache.get(key_of(n)) is not None for n in range(4)] == [True, False, True, True]
        assert cache.bytes <= cache.max_bytes

    def test_an_entry_larger_than_the_cache_is_not_kept_and_throws_nothing_out(self) -> None:
        cache = MemoryCache(max_bytes=7_000)
        cache.put(kept(key_of(0)))
        cache.put(kept(key_of(1), "x" * 10_000))
        assert (cache.get(key_of(0)) is not None, cache.get(key_of(1))) == (True, None)

    def test_a_second_entry_under_one_key_takes_the_place_of_the_first(self) -> None:
        cache = MemoryCache()
        cache.put(kept(text="one"))
        before = cache.bytes
        cache.put(kept(text="two"))
        assert (len(cache), cache.bytes) == (1, before)


class TestDisk:
    def test_an_entry_comes_back_whole_and_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        cache = DiskCache(tmp_path / "new" / "folder")
        entry = kept(text="na\u00efve \U0001f600 \ud800")
        cache.put(entry)
        assert cache.get("a" * 64) == entry
        (file,) = (tmp_path / "new" / "folder").glob("*/*.json")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"key": 1}', '{"key": "' + "b" * 64 + '"}'])
    def test_a_file_that_is_no_entry_counts_as_none_and_goes(self, tmp_path: Path, content: str) -> None:
        cache = DiskCache(tmp_path)
        cache.put(kept())
        (file,) = tmp_path.glob("*/*.json")
        file.write_text(content)
        assert cache.get("a" * 64) is None
        assert not file.exists()

    def test_it_keeps_to_its_bytes_and_the_least_recently_used_go_first(self, tmp_path: Path) -> None:
        cache = DiskCache(tmp_path)
        for number in range(10):
            cache.put(kept(key_of(number), "x" * 1000))
        for number, file in enumerate(sorted(tmp_path.glob("*/*.json"))):
            os.utime(file, (1000.0 + number, 1000.0 + number))
        cache.get(key_of(0))  # used again: it is the youngest now
        each = cache.measure().bytes // 10
        assert cache.prune(each * 5) == 6
        assert [cache.get(key_of(n)) is not None for n in range(10)] == [True] + [False] * 6 + [True] * 3

    def test_writing_prunes_by_itself(self, tmp_path: Path) -> None:
        cache = DiskCache(tmp_path, max_bytes=20_000)
        for number in range(200):
            cache.put(kept(key_of(number), "x" * 500))
        assert cache.measure().bytes <= 22_000

    def test_a_half_written_file_of_a_killed_process_goes_after_an_hour(self, tmp_path: Path) -> None:
        cache = DiskCache(tmp_path)
        cache.put(kept())
        (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
        old, young = folder / "x.json.1.tmp", folder / "x.json.2.tmp"
        old.write_text("{")
        young.write_text("{")
        os.utime(old, (1000.0, 1000.0))
        cache.prune()
        assert (old.exists(), young.exists()) == (False, True)

    def test_a_key_that_is_no_key_never_becomes_a_path(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="64 hex digits"):
            DiskCache(tmp_path).get("../../etc/passwd")

    def test_many_processes_write_one_folder_and_every_entry_is_whole(self, tmp_path: Path) -> None:
        script = (
            "import sys; from dspex_ray.lm.cache import *; from dspex_ray.lm.base import *\n"
            "cache = DiskCache(sys.argv[1], max_bytes=200_000)\n"
            "for n in range(200):\n"
            "    reply = LMReply(text=f'{n % 50}' * 500, model='m')\n"
            "    request = LMRequest(messages=(ChatMessage('user', 'q'),))\n"
            "    cache.put(CachedReply.of(f'{n % 50:064x}', request, reply, 1.0))\n"
            "    found = cache.get(f'{n % 50:064x}')\n"
            "    assert found is None or found.text == f'{n % 50}' * 500, found\n"
        )
        writers = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(4)]
        assert [writer.wait(60) for writer in writers] == [0] * 4
        entries = list(DiskCache(tmp_path).entries())
        assert entries
        assert all(entry.text == f"{int(entry.key, 16)}" * 500 for entry in entries)


def test_no_pickle_is_on_disk(tmp_path: Path) -> None:
    DiskCache(tmp_path).put(kept())
    (file,) = tmp_path.glob("*/*.json")
    assert json.loads(file.read_text())["text"] == "yes"


@pytest.mark.parametrize(
    ("text", "kind"), [(None, "off"), ("off", "off"), ("memory", "memory"), ("disk", "disk"), ("/x/y", "disk")]
)
def test_a_cache_is_named_by_a_word_or_a_path(text: str | None, kind: str) -> None:
    assert CacheSettings.of(text).kind == kind


def test_a_cache_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'off', 'memory' or 'disk', got 'ram'"):
        CacheSettings("ram")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least 1 byte"):
        CacheSettings("memory", memory_bytes=0)
