"""Processes that call a simulated model under one ledger; started by tests.

Takes a list of options as JSON and becomes one process for each: itself for one, children of its own for more. Each
prints a line of JSON at its end: calls answered, errors by type.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from typing import Any

from dspex_ray.calls import recorded_call, tagged
from dspex_ray.calls.ledger_context import ledger
from dspex_ray.errors import DspexError
from dspex_ray.lm.base import LM, ChatMessage, LMRequest
from dspex_ray.lm.cache import CachedLM, CacheSettings
from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.lm.prices import Price

PRICE = Price(1e-4, 1e-3, 1e-4)


async def call_often(options: dict[str, Any]) -> Counter[str]:
    direct = OpenAICompatibleLM(
        "openai/simulated", wire_model="simulated", base_url=options["url"], api_key="k", price=PRICE
    )
    lm: LM = CachedLM(direct, CacheSettings.of("memory")) if options.get("cached") else direct
    told: Counter[str] = Counter()
    turns = iter(range(options["calls"]))

    async def work() -> None:
        for turn in turns:
            text = f"message {turn // 2 if options.get('cached') else turn} of {options['name']}"
            request = LMRequest(messages=(ChatMessage("user", text),), max_tokens=options["max_tokens"], timeout_s=20)
            try:
                with tagged(row=turn):
                    reply = await recorded_call(lm, request, "test:Program")
                told["cached" if reply.cached else "answered"] += 1
            except DspexError as error:
                told[type(error).__name__] += 1

    try:
        await asyncio.gather(*(work() for _ in range(options["concurrency"])))
    finally:
        await lm.aclose()
    return told


def run(options: dict[str, Any]) -> None:
    with ledger(options["store"]), tagged(tenant="acme", run_id="run-1"):
        counted = asyncio.run(call_often(options))
    os.write(1, json.dumps(counted).encode() + b"\n")


def main(several: list[dict[str, Any]]) -> int:
    if len(several) == 1:
        run(several[0])
        return 0
    children = []
    for options in several:
        child = os.fork()
        if child == 0:
            run(options)
            os._exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
