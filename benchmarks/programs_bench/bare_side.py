"""The same calls without any program: litellm's call, and a POST with aiohttp."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from side import Figures

from programs_bench.questions import answer, peak_mb, question, stopwatch

_SYSTEM = {"role": "system", "content": 'Answer the question with one word, as {"answer": "<word>"}.'}
_Ask = Callable[[list[dict[str, str]]], Awaitable[str]]


async def _ask_all(ask: _Ask, count: int, at_once: int) -> Figures:
    waiting = iter(range(count))

    async def work() -> None:
        for number in waiting:
            text = await ask([_SYSTEM, {"role": "user", "content": question(number)}])
            assert json.loads(text)["answer"] == answer(number)

    with stopwatch(count) as figures:
        await asyncio.gather(*(work() for _ in range(at_once)))
    return figures | {"peak_mb": peak_mb()}


def litellm_call(url: str, count: int, at_once: int) -> Figures:
    """Ask with `litellm.acompletion`."""
    import litellm  # noqa: PLC0415 - it takes seconds and the other side of this file does not need it

    async def ask(messages: list[dict[str, str]]) -> str:
        reply: Any = await litellm.acompletion("openai/quick", messages=messages, api_base=url, api_key="unused")
        return str(reply.choices[0].message.content)

    return asyncio.run(_ask_all(ask, count, at_once))


def aiohttp_call(url: str, count: int, at_once: int) -> Figures:
    """Ask with `ClientSession.post`."""

    async def run() -> Figures:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

            async def ask(messages: list[dict[str, str]]) -> str:
                body = {"model": "quick", "messages": messages}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    return str((await response.json())["choices"][0]["message"]["content"])

            return await _ask_all(ask, count, at_once)

    return asyncio.run(run())
