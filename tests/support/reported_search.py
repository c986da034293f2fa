"""A small search to be reported, by a model whose answers are hostile where they are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import dspex_ray as dspex
from dspex_ray.lm.base import LMChunk, LMReply, LMRequest, Usage
from dspex_ray.store import Store

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
ROWS = [{"question": f"is {n} even?", "answer": "yes" if n % 2 == 0 else "no"} for n in range(20)]


class HotLM:
    """Right at a temperature above a half, else hostile."""

    model = "simulated/hot"

    async def complete(self, request: LMRequest) -> LMReply:
        number = int(re.findall(r"is (\d+) even", request.messages[-1].content)[-1])
        right = "yes" if number % 2 == 0 else "no"
        answer = right if (request.temperature or 0.0) > 0.5 else HOSTILE
        text = json.dumps({"answer": answer})
        usage = Usage(prompt_tokens=5, completion_tokens=5)
        return LMReply(text=text, model=self.model, usage=usage, cost_usd=0.001)

    async def stream(self, request: LMRequest) -> AsyncIterator[LMChunk]:
        yield LMChunk(reply=await self.complete(request))

    async def aclose(self) -> None:
        """Nothing is open."""


class Parity(dspex.Program):
    """Say whether it is even."""

    class Input(dspex.Schema):
        question: str

    class Output(dspex.Schema):
        answer: str

    temperature = dspex.Float(0.0, 1.0, default=0.1)


def search(store: Store, low: float = 0.0, high: float = 1.0, **options: Any) -> dspex.Optimized:
    class Tuned(Parity):
        """Say whether it is even."""

        temperature = dspex.Float(low, high, default=low)

    chosen = {"optimizer": "random", "trials": 8, **options}
    program = Tuned().with_lm(HotLM())
    return dspex.optimize(program, ROWS, runtime="in-process", workers=1, store=store, metric=_right, **chosen)


def _right(example: Any, output: Any) -> float:
    return float(example.output["answer"] == output.answer)
