"""Models behind real HTTP for tests of modules that ask repeatedly, and rewards that have a name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dspex_ray.lm.openai_compatible import OpenAICompatibleLM
from dspex_ray.metrics import Scored
from dspex_ray.testing.model_server import ModelServer

BAD = "no answer at all"
"""A reply that is valid in no form; asked again, a model that says it twice has failed."""


def replies(*answers: Any) -> list[str]:
    """Return one JSON reply for each answer, and the two tries of a failure for None."""
    found: list[str] = []
    for answer in answers:
        found += [BAD, BAD] if answer is None else [json.dumps({"answer": answer})]
    return found


@contextmanager
def served(answer: Any) -> Iterator[tuple[ModelServer, OpenAICompatibleLM]]:
    """Serve answers, a list of texts or a rule, and give the server with a client of it."""
    with ModelServer(answer=answer) as server:
        yield server, OpenAICompatibleLM("vllm/m", wire_model="m", base_url=server.base_url, api_key=None, price=None)


def run_on(program: Any, answers: Sequence[str] | Any, **values: Any) -> tuple[Any, int]:
    """Return the program's output and how many requests it took."""
    with served(answers) as (server, lm):

        async def asked() -> Any:
            try:
                return await program.with_lm(lm)(**values)
            finally:
                await lm.aclose()

        return asyncio.run(asked()), server.counters()["requests"]


def longer(_: Any, output: Any) -> float:
    """Prefer long answers; ten characters are as good as it gets."""
    return min(1.0, len(output.answer) / 10)


def told(_: Any, output: Any) -> Scored:
    """Want the answer `four`, and say so."""
    right = output.answer == "four"
    return Scored(1.0 if right else 0.25, None if right else f"{output.answer!r} is not written in words.")
