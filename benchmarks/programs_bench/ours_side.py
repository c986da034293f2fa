"""Ours: `aevaluate` of a program with one call, calls in flight, cached examples, validation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from side import Figures

import dspex_ray as dspex
from dspex_ray.lm.resolve import resolve_lm
from programs_bench.questions import answer, peak_mb, question, stopwatch


class Lookup(dspex.Program):
    """Answer the question with one word."""

    class Input(dspex.Schema):
        """A question."""

        question: str

    class Output(dspex.Schema):
        """Its answer."""

        answer: str


class Vector(dspex.Schema):
    """A text's embedding."""

    values: dspex.Embedding = dspex.field(dim=1536)


def _program(url: str, at_once: int) -> tuple[Lookup, Any]:
    limits = dspex.LMLimits(concurrency=at_once)
    lm = resolve_lm("openai/quick", base_url=url, api_key="unused", limits=limits)
    return Lookup().with_lm(lm), lm


def evaluate(url: str, count: int, at_once: int) -> Figures:
    """Evaluate with so many examples at once, reading the data included."""
    rows = [{"question": question(i), "answer": answer(i)} for i in range(count)]

    async def run() -> tuple[Any, Figures]:
        program, lm = _program(url, at_once)
        with stopwatch(count) as figures:
            found = await dspex.aevaluate(program, rows, metric="exact", concurrency=at_once)
        await lm.aclose()
        return found, figures

    found, figures = asyncio.run(run())
    assert found.accuracy == 1.0, found
    assert found.calls == count
    return figures | {"peak_mb": peak_mb()}


def cached(url: str, count: int) -> Figures:
    """Ask one question again and again; the reply is kept in memory. Microseconds an example."""

    async def run() -> float:
        program, lm = _program(url, 1)
        program = program.with_cache("memory")
        await program.acall({"question": question(0)})
        started = time.perf_counter()
        for _ in range(count):
            await program.acall({"question": question(0)})
        spent_s = time.perf_counter() - started
        await lm.aclose()
        return spent_s

    return {"us": 1e6 * asyncio.run(run()) / count}


def cached_on_disk(url: str, count: int, folder: str) -> Figures:
    """Ask questions whose replies another program has left in a folder, one by one. Microseconds an example."""

    async def ask() -> float:
        program, lm = _program(url, 64)
        program = program.with_cache(folder)
        started = time.perf_counter()
        for number in range(count):
            await program.acall({"question": question(number)})
        spent_s = time.perf_counter() - started
        await lm.aclose()
        return spent_s

    asyncio.run(ask())
    return {"us": 1e6 * asyncio.run(ask()) / count}


def validate(count: int) -> Figures:
    """Validate an embedding as a model's JSON gives it: a list of floats. Microseconds each."""
    values = {"values": [i / 1536 for i in range(1536)]}
    started = time.perf_counter()
    for _ in range(count):
        Vector.parse(values)
    return {"us": 1e6 * (time.perf_counter() - started) / count}
