"""Bare Ray actors, the peer that the runtime is built on."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import ray

BODY = {"message": "hello"}
AT_ONCE = 256


@ray.remote(num_cpus=0)
class BareAsync:
    """Answers with the message, on an event loop as our agents do."""

    async def answer(self, body: Any) -> Any:
        return body


@ray.remote(num_cpus=0)
class BareSync:
    """Takes messages on a thread, in order: Ray's quickest actor."""

    def take(self, body: Any) -> None: ...


@ray.remote(num_cpus=0)
class BareSender:
    """Calls another actor and answers with calls a second."""

    def fetched(self, to: Any, count: int) -> float:
        """Make all calls, then fetch all results at once."""
        started = time.perf_counter()
        ray.get([to.take.remote(BODY) for _ in range(count)])
        return count / (time.perf_counter() - started)

    def unfetched(self, to: Any, count: int) -> float:
        """Make all calls and fetch the last result only: the calls of one caller run in order."""
        started = time.perf_counter()
        for _ in range(count - 1):
            to.take.remote(BODY)
        ray.get(to.take.remote(BODY))
        return count / (time.perf_counter() - started)


@ray.remote(num_cpus=0)
class BareAsyncSender:
    """Calls another actor from its event loop and answers with calls a second."""

    async def asks(self, to: Any, count: int, at_once: int) -> float:
        """Await each result, `at_once` of them at a time."""

        async def ask() -> None:
            for _ in range(count // at_once):
                await to.answer.remote(BODY)

        started = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(at_once)))
        return count / (time.perf_counter() - started)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class BareVictim:
    """Restarted by Ray, its calls repeated by Ray."""

    async def process(self) -> int:
        return os.getpid()


def bare_start_s(actors: int) -> float:
    """Return the seconds until so many actors have started and answered."""
    started = time.perf_counter()
    handles = [BareAsync.remote() for _ in range(actors)]
    ray.get([handle.answer.remote(BODY) for handle in handles])
    seconds = time.perf_counter() - started
    for handle in handles:
        ray.kill(handle)
    return seconds
