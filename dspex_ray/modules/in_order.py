"""`in_order`: the results of numbered tasks in their order, whatever ends first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def in_order(
    make: Callable[[int], Awaitable[T]], count: int, *, ahead: int, ends: Callable[[T], bool] = lambda _: False
) -> AsyncGenerator[T]:
    """Yield what `make(0)`, `make(1)`, ... give, in this order, with at most `ahead` of them under way.

    The first result in order that `ends` is true of is the last one; whatever comes after such a result is cancelled
    as soon as it is there. So the results do not depend on `ahead`. What `make` raises is raised when its turn comes.
    Closing the generator cancels the rest.
    """
    if ahead == 1:
        for number in range(count):
            result = await make(number)
            yield result
            if ends(result):
                return
        return
    room, tasks = asyncio.Semaphore(ahead), list[asyncio.Task[T]]()

    async def one(number: int) -> T:
        async with room:
            try:
                result = await make(number)
            except Exception:
                _cancel(tasks[number + 1 :])  # the caller is told, at the latest, when this one's turn comes
                raise
            if ends(result):
                _cancel(tasks[number + 1 :])
            return result

    tasks.extend(asyncio.ensure_future(one(number)) for number in range(count))
    try:
        for task in tasks:
            result = await task
            yield result
            if ends(result):
                return
    finally:
        _cancel(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)


def _cancel(tasks: list[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
