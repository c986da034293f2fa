"""xoscar, the peer with actors on the event loops of a pool of processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import xoscar as xo
from harness import resident_bytes

from agents_bench.side import Figures, Measure

BODY = {"message": "hello"}
AT_ONCE = 256
BATCH = 100


class Receiver(xo.Actor):
    def __init__(self) -> None:
        self._taken = 0

    async def answer(self, body: Any) -> Any:
        return body

    @xo.extensible  # lets a caller put many calls into one message by hand
    async def take(self, body: Any) -> None:  # noqa: ARG002 - counted only
        self._taken += 1

    def taken(self) -> int:
        return self._taken

    def process(self) -> int:
        return os.getpid()

    def memory(self) -> int:
        return resident_bytes(os.getpid())


class Sender(xo.Actor):
    """Sends to a receiver and answers with the rate."""

    async def run(self, how: str, to: Any, count: int) -> float:
        before, started = await to.taken(), time.perf_counter()
        await getattr(self, f"_{how}")(to, count)
        if how in ("tell", "batch"):
            while await to.taken() < before + count:
                pass  # each question takes its turn behind what was told
        return count / (time.perf_counter() - started)

    async def _ask(self, to: Any, count: int) -> None:
        for _ in range(count):
            await to.answer(BODY)

    async def _asks(self, to: Any, count: int) -> None:
        await asyncio.gather(*(self._ask(to, count // AT_ONCE) for _ in range(AT_ONCE)))

    async def _tell(self, to: Any, count: int) -> None:
        for _ in range(count):
            await to.take.tell(BODY)

    async def _batch(self, to: Any, count: int) -> None:
        for _ in range(count // BATCH):
            await to.take.batch(*(to.take.delay(BODY) for _ in range(BATCH)))


async def crowd(address: str, count: int) -> Figures:
    """Start actors, let each answer once, and measure the memory of one, in its process and in the pool's main one."""
    place = {"address": address, "allocate_strategy": xo.allocate_strategy.ProcessIndex(1)}
    first = await xo.create_actor(Receiver, **place)
    before, started = await first.memory() + resident_bytes(os.getpid()), time.perf_counter()
    actors = [await xo.create_actor(Receiver, **place) for _ in range(count)]
    up = time.perf_counter()
    for at in range(0, count, AT_ONCE):
        answers = await asyncio.gather(*(actor.answer(BODY) for actor in actors[at : at + AT_ONCE]))
        assert all(answer == BODY for answer in answers)
    answered, grown = time.perf_counter(), await first.memory() + resident_bytes(os.getpid()) - before
    for actor in actors:
        await xo.destroy_actor(actor)
    return {"bytes": grown / count, "start_s": up - started, "answer_s": answered - up}


@contextmanager
def open_measures() -> Iterator[Mapping[str, Measure]]:
    """Open a pool of two processes beside this one: two actors in the first, one in the second."""
    with asyncio.Runner() as runner:
        pool = runner.run(xo.create_actor_pool("127.0.0.1", n_process=2))
        address = pool.external_address

        async def place(actor: type[Any], process: int) -> Any:
            return await xo.create_actor(
                actor, address=address, allocate_strategy=xo.allocate_strategy.ProcessIndex(process)
            )

        sender = runner.run(place(Sender, 1))
        here, there = runner.run(place(Receiver, 1)), runner.run(place(Receiver, 2))
        assert runner.run(here.process()) != runner.run(there.process())

        def rate(how: str, to: Any) -> Measure:
            return lambda count: {"rate": runner.run(sender.run(how, to, count))}

        try:
            yield {
                "ask": rate("ask", here),
                "tell": rate("tell", here),
                "remote ask": rate("ask", there),
                "remote asks": rate("asks", there),
                "remote tell": rate("tell", there),
                "remote batch": rate("batch", there),
                "crowd": lambda count: runner.run(crowd(address, count)),
            }
        finally:
            runner.run(pool.stop())
